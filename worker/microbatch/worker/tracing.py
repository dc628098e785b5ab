"""The worker's spans: one for each batch, linked to the span that sent each of its jobs.

Rule: a batch has many origins and is nobody's child, so its span begins a trace of its own; it lasts from the
call of the processor until its outcomes are written, and is the current span while the processor runs. No
payload and no error message of a job is in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from microbatch.common.tracing import (
    Context,
    Link,
    SpanKind,
    Status,
    StatusCode,
    context_of,
    messaging,
    own_tracer,
    use_span,
)
from microbatch.worker.observer import Observer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from opentelemetry.trace import Span, SpanContext

    from microbatch.common.jobs.entry import Entry
    from microbatch.common.scripts import Claimed, Outcome, SettleCode
    from microbatch.worker.batch import Batch, Job
    from microbatch.worker.observer import BatchEnd

__all__ = ["MOST_LINKS", "BatchTracing"]

MOST_LINKS = 128
"""What an SDK keeps of a span's links unless it is told otherwise."""


class BatchTracing(Observer):
    """Makes the spans of one worker.

    Args:
        worker_id: Who runs the batches.
    """

    def __init__(self, worker_id: str) -> None:
        self._worker_id = worker_id
        self._most: dict[str, int] = {}
        self._tracer = own_tracer()
        self._open: dict[str, tuple[Span, list[int]]] = {}

    def claimed(self, queue: str, batch_id: str, claimed: Claimed, entries: Sequence[Entry]) -> None:
        """Note how many jobs the batch could have."""
        del queue
        self._most[batch_id] = max(claimed.most, len(entries))

    def processing(self, batch: Batch[Any]) -> AbstractContextManager[object]:
        """Begin the span of a batch."""
        attributes: dict[str, str | int | float] = {
            **messaging("process", batch.queue),
            "messaging.batch.message_count": len(batch),
            "messaging.client.id": self._worker_id,
            "microbatch.batch.id": batch.id,
            "microbatch.batch.close_reason": batch.reason,
            "microbatch.batch.fill_ratio": len(batch) / self._most.get(batch.id, len(batch)),
        }
        span = self._tracer.start_span(
            f"process {batch.queue}",
            context=Context(),
            kind=SpanKind.CONSUMER,
            attributes=attributes,
            links=_links(batch),
        )
        self._open[batch.id] = (span, [0, 0])
        return use_span(span)

    def settled(
        self, queue: str, batch_id: str, outcomes: Sequence[Outcome], codes: Sequence[SettleCode] | None
    ) -> None:
        """Note how its jobs ended."""
        del queue, codes
        if batch_id in self._open:
            counts = self._open[batch_id][1]
            counts[0] += sum(outcome.state == "failed" for outcome in outcomes)
            counts[1] += sum(outcome.state == "retry" for outcome in outcomes)

    def ended(self, queue: str, batch_id: str, end: BatchEnd) -> None:
        """End its span."""
        del queue
        self._most.pop(batch_id, None)
        span, (failed, retried) = self._open.pop(batch_id, (None, (0, 0)))
        if span is None:
            return
        span.set_attributes(
            {
                "microbatch.batch.end": end,
                "microbatch.jobs.failed": failed,
                "microbatch.jobs.retried": retried,
            }
        )
        if end != "settled":
            span.set_status(Status(StatusCode.ERROR, end))
        elif failed or retried:
            span.set_status(Status(StatusCode.ERROR, f"{failed} jobs failed, {retried} are retried"))
        span.end()


def _links(batch: Iterable[Job[Any]]) -> list[Link]:
    """A link to the span of each job that has one; jobs that one call sent share a span, and a link."""
    senders: dict[tuple[int, int], tuple[SpanContext, Job[Any], int]] = {}
    for job in batch:
        context = context_of(job.headers) if job.headers else None
        if context is not None:
            key = (context.trace_id, context.span_id)
            _, first, jobs = senders.get(key, (context, job, 0))
            senders[key] = (context, first, jobs + 1)
    return [Link(context, _said(first, jobs)) for context, first, jobs in list(senders.values())[:MOST_LINKS]]


def _said(first: Job[Any], jobs: int) -> Mapping[str, str | int]:
    return {"messaging.message.id": first.id} if jobs == 1 else {"messaging.batch.message_count": jobs}
