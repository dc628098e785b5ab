"""The producer's spans: one for each submit, whose context travels with its jobs.

Rule: a span covers the submit and not the wait for the result; a bulk submit is one span, and its jobs share
its context. Where tracing is off nothing is imported, and nothing done.
"""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator
    from contextlib import AbstractContextManager

    from opentelemetry.trace import Span

    from microbatch.common.settings import ClientSettings
    from microbatch.producer.admission import Admission
    from microbatch.producer.options import SubmitOptions
    from microbatch.producer.ticket import Ticket

__all__ = ["SubmitTracing", "admitted", "sending", "tracing_of"]


class SubmitTracing:
    """Makes the spans of one client.

    Raises:
        SettingsError: opentelemetry is not installed.
    """

    def __init__(self) -> None:
        from microbatch.common import tracing  # noqa: PLC0415 - an extra

        self._api = tracing
        self._tracer = tracing.own_tracer()

    async def submit(
        self, admission: Admission, queue: str, payload: Any, job_id: str | None, options: SubmitOptions
    ) -> Ticket:
        """Admit one job within a span of its own; errors as from `Admission`."""
        with self.sending(queue, options) as (span, traced):
            ticket = await admission.submit(queue, payload, job_id, admission.terms(traced))
            span.set_attribute("messaging.message.id", ticket.id)
            return ticket

    @contextmanager
    def sending(self, queue: str, options: SubmitOptions) -> Iterator[tuple[Span, SubmitOptions]]:
        """A span, and the options with its context among their headers; an error ends it, and goes on."""
        with self._tracer.start_as_current_span(
            f"send {queue}",
            kind=self._api.SpanKind.PRODUCER,
            attributes=self._api.messaging("send", queue),
        ) as span:
            headers = self._api.with_context(options.get("headers"), span)
            yield span, cast("SubmitOptions", {**options, "headers": headers})

    @contextmanager
    def sending_many(self, queue: str, options: SubmitOptions) -> Iterator[SubmitOptions]:
        """As `sending`, for jobs whose ids are too many to name."""
        with self.sending(queue, options) as (_, traced):
            yield traced


def tracing_of(settings: ClientSettings) -> SubmitTracing | None:
    """What the settings say; None: no spans."""
    return SubmitTracing() if settings.tracing else None


def admitted(
    tracing: SubmitTracing | None,
    admission: Admission,
    queue: str,
    payload: Any,
    job_id: str | None,
    options: SubmitOptions,
) -> Awaitable[Ticket]:
    """Admit one job, within a span if there are any; errors as from `Admission`."""
    if tracing is None:
        return admission.submit(queue, payload, job_id, admission.terms(options))
    return tracing.submit(admission, queue, payload, job_id, options)


def sending(
    tracing: SubmitTracing | None, queue: str, options: SubmitOptions
) -> AbstractContextManager[SubmitOptions]:
    """The options for a bulk submit, within its span if there is one."""
    return nullcontext(options) if tracing is None else tracing.sending_many(queue, options)
