"""The worker's metrics in Prometheus's format: what the tally counted, under its public names.

Rule: `WORKER_METRICS` is the one list of names, and what each means; labels are queues, outcomes, close
reasons and operations, never jobs or keys. Numbers are read when somebody asks, so counting knows nothing of
this. Only here and in the exporter is prometheus-client known (extra `metrics`), in a registry of our own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from microbatch.common.distribution import Distribution
    from microbatch.worker.tally import QueueTally, Tally

__all__ = ["WORKER_METRICS", "TallyCollector", "exposition", "own_registry"]

WORKER_METRICS: dict[str, tuple[str, str]] = {
    "microbatch_jobs_total": (
        "queue, outcome",
        "Jobs that ended here, by outcome: succeeded, failed, expired, quarantined.",
    ),
    "microbatch_batches_total": (
        "queue, reason, outcome",
        (
            "Batches that ended here. Reason is why it left the queue: size, wait, recovery, budget. "
            "Outcome: succeeded, partial, failed, empty (no job was left to run), lost (it hung, or its "
            "process died), taken_over, handed_back, broke."
        ),
    ),
    "microbatch_batch_size_jobs": ("queue", "Jobs per batch."),
    "microbatch_batch_fill_ratio": (
        "queue",
        "Jobs per batch, as a share of what it may have: max_batch_size, or what batching makes of it.",
    ),
    "microbatch_queue_wait_seconds": ("queue", "Per job: from when it could run to its claim."),
    "microbatch_batching_wait_seconds": (
        "queue",
        "Per batch: how long its oldest job waited for company. The rest of its wait was for a worker.",
    ),
    "microbatch_run_seconds": ("queue", "Per batch: in the processor, runs in halves included."),
    "microbatch_settle_seconds": ("queue", "Per batch: from the processor's answer to Redis's."),
    "microbatch_job_latency_seconds": ("queue", "Per job that ended: from its submit to its end, all of it."),
    "microbatch_batches_in_flight": ("queue", "Batches that this worker holds."),
    "microbatch_jobs_in_flight": ("queue", "Jobs in these batches."),
    "microbatch_batch_slots": ("queue", "Batches that it may hold (concurrency)."),
    "microbatch_retries_total": ("queue", "Runs that failed and are repeated."),
    "microbatch_reclaimed_jobs_total": ("queue", "Jobs taken from workers that died."),
    "microbatch_handed_back_jobs_total": (
        "queue",
        "Jobs that went back to their queue without an outcome: at a drain deadline, given up, too new.",
    ),
    "microbatch_dead_letters_total": (
        "queue",
        "Dead letters written: failed jobs, and entries that are no jobs.",
    ),
    "microbatch_late_results_total": (
        "queue",
        "Results dropped, as the job had moved on or was final: a cancelled job, or this worker had paused.",
    ),
    "microbatch_redis_errors_total": (
        "queue, operation",
        "Calls that Redis refused or did not answer within command_timeout_s; each is repeated.",
    ),
    "microbatch_loop_stalls_total": ("", "Times that the event loop was stuck for loop_stall_limit_s."),
    "microbatch_worker_info": ("version", "Always 1; says which version runs."),
}
"""Every metric of a worker: its labels, and what it counts."""

_DISTRIBUTIONS: dict[str, Callable[[QueueTally], Distribution]] = {
    "microbatch_batch_size_jobs": lambda tally: tally.size,
    "microbatch_batch_fill_ratio": lambda tally: tally.fill,
    "microbatch_queue_wait_seconds": lambda tally: tally.queue_wait,
    "microbatch_batching_wait_seconds": lambda tally: tally.batching_wait,
    "microbatch_run_seconds": lambda tally: tally.run,
    "microbatch_settle_seconds": lambda tally: tally.settle,
    "microbatch_job_latency_seconds": lambda tally: tally.latency,
}
_COUNTS: dict[str, Callable[[QueueTally], int]] = {
    "microbatch_retries_total": lambda tally: tally.retries,
    "microbatch_reclaimed_jobs_total": lambda tally: tally.reclaimed,
    "microbatch_handed_back_jobs_total": lambda tally: tally.handed_back,
    "microbatch_dead_letters_total": lambda tally: tally.dead_letters,
    "microbatch_late_results_total": lambda tally: tally.late,
}
_LEVELS: dict[str, Callable[[QueueTally], int]] = {
    "microbatch_batches_in_flight": lambda tally: len(tally.open),
    "microbatch_jobs_in_flight": lambda tally: sum(flight.size for flight in list(tally.open.values())),
    "microbatch_batch_slots": lambda tally: tally.slots,
}


class TallyCollector(Collector):
    """Shows a tally to a registry; may be asked from any thread."""

    def __init__(self, tally: Tally, version: str) -> None:
        self._tally = tally
        self._version = version

    def collect(self) -> Iterator[Metric]:
        """Every metric, as it stands."""
        queues = self._tally.queues
        jobs = CounterMetricFamily(*_named("microbatch_jobs_total"), labels=("queue", "outcome"))
        batches = CounterMetricFamily(
            *_named("microbatch_batches_total"), labels=("queue", "reason", "outcome")
        )
        errors = CounterMetricFamily(*_named("microbatch_redis_errors_total"), labels=("queue", "operation"))
        for queue, tally in queues.items():
            for outcome, count in dict(tally.jobs).items():
                jobs.add_metric((queue, outcome), count)
            for (reason, outcome), count in dict(tally.batches).items():
                batches.add_metric((queue, reason, outcome), count)
            for operation, count in dict(tally.redis_errors).items():
                errors.add_metric((queue, operation), count)
        yield from (jobs, batches, errors)
        for name, distribution_of in _DISTRIBUTIONS.items():
            histogram = HistogramMetricFamily(*_named(name), labels=("queue",))
            for queue, tally in queues.items():
                seen = distribution_of(tally)
                buckets = [(_bound(bound), float(count)) for bound, count in seen.cumulative()]
                histogram.add_metric((queue,), buckets, seen.total)
            yield histogram
        for numbers, family in ((_COUNTS, CounterMetricFamily), (_LEVELS, GaugeMetricFamily)):
            for name, number_of in numbers.items():
                metric = family(*_named(name), labels=("queue",))
                for queue, tally in queues.items():
                    metric.add_metric((queue,), number_of(tally))
                yield metric
        yield CounterMetricFamily(*_named("microbatch_loop_stalls_total"), value=self._tally.loop_stalls)
        yield InfoMetricFamily(*_named("microbatch_worker_info"), value={"version": self._version})


def own_registry(collector: Collector) -> CollectorRegistry:
    """A registry with what this collector shows, and the process's memory and time."""
    registry = CollectorRegistry()
    registry.register(collector)
    ProcessCollector(registry=registry)
    return registry


def exposition(registry: CollectorRegistry, accept: str) -> tuple[str, bytes]:
    """What a scrape gets: the content type, in the format that its `Accept` header asks for, and the text."""
    encoder, content_type = choose_encoder(accept)
    return content_type, encoder(registry)


def _named(name: str) -> tuple[str, str]:
    # The library adds `_total` and `_info` again.
    return name.removesuffix("_total").removesuffix("_info"), WORKER_METRICS[name][1]


def _bound(bound: float) -> str:
    return "+Inf" if bound == float("inf") else str(bound)
