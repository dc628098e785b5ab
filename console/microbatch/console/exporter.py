"""The exporter: what the queues hold, in Prometheus's format; read from Redis when somebody asks.

Rule: it belongs to no worker, so that any number of workers counts each queue once. One look costs each queue
one script call; who asks more than once a second gets the last look again. `EXPORTER_METRICS` is the one list
of names. Where Redis does not answer it says so in a metric, and the rest is left out rather than guessed.
"""

from __future__ import annotations

import logging
import time
from threading import Lock
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from microbatch.common.errors import MicrobatchError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from microbatch.common.scripts import QueueStatus

__all__ = ["EXPORTER_METRICS", "QueueCollector"]

log = logging.getLogger("microbatch.console")
FRESH_S = 1.0

EXPORTER_METRICS: dict[str, tuple[str, str]] = {
    "microbatch_queue_waiting_jobs": (
        "queue",
        "Jobs that no worker holds: the lag of the consumer group over all lanes, without cancelled jobs.",
    ),
    "microbatch_queue_running_jobs": ("queue", "Jobs that a worker holds: the group's pending entries."),
    "microbatch_queue_scheduled_jobs": ("queue", "Jobs that wait for their time: delays, retries, ticks."),
    "microbatch_queue_oldest_age_seconds": (
        "queue",
        "How long the oldest waiting job has waited; 0: none waits.",
    ),
    "microbatch_queue_workers": ("queue", "Workers with a heartbeat within heartbeat_limit_s."),
    "microbatch_queue_dead_letters": ("queue", "Dead letters that are kept."),
    "microbatch_queue_dead_letters_trimmed_total": ("queue", "Dead letters that made room for newer ones."),
    "microbatch_queue_foreign_keys": ("queue", "Keys of the queue that hold something that is not ours."),
    "microbatch_redis_up": ("", "1 where Redis answered this look, else 0."),
    "microbatch_exporter_look_seconds": ("", "How long the look at all queues took."),
}
"""Every metric of the exporter: its labels, and what it says."""

_LEVELS: dict[str, Callable[[QueueStatus], float]] = {
    "microbatch_queue_waiting_jobs": lambda status: status.waiting,
    "microbatch_queue_running_jobs": lambda status: status.running,
    "microbatch_queue_scheduled_jobs": lambda status: status.scheduled,
    "microbatch_queue_oldest_age_seconds": lambda status: status.oldest_age_s or 0.0,
    "microbatch_queue_workers": lambda status: status.workers,
    "microbatch_queue_dead_letters": lambda status: status.dead,
    "microbatch_queue_foreign_keys": lambda status: len(status.foreign),
}
_TRIMMED = "microbatch_queue_dead_letters_trimmed_total"


class QueueCollector(Collector):
    """Looks at the queues and shows them to a registry; may be asked from any thread.

    Args:
        look: The status of each queue, by name; raises `MicrobatchError` where Redis does not answer.
        clock_s: A monotonic clock.
    """

    def __init__(
        self, look: Callable[[], Mapping[str, QueueStatus]], *, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._look = look
        self._clock_s = clock_s
        self._lock = Lock()
        self._looked_s: float | None = None
        self._took_s = 0.0
        self._seen: Mapping[str, QueueStatus] | None = None

    @property
    def redis_answered(self) -> bool:
        """Whether Redis answered the last look; looks, if that was long ago."""
        return self._fresh() is not None

    def collect(self) -> Iterator[Metric]:
        """Every metric."""
        seen = self._fresh()
        for name, level_of in _LEVELS.items():
            gauge = GaugeMetricFamily(*_named(name), labels=("queue",))
            for queue, status in (seen or {}).items():
                gauge.add_metric((queue,), level_of(status))
            yield gauge
        trimmed = CounterMetricFamily(*_named(_TRIMMED), labels=("queue",))
        for queue, status in (seen or {}).items():
            trimmed.add_metric((queue,), status.dead_trimmed)
        yield trimmed
        yield GaugeMetricFamily(*_named("microbatch_redis_up"), value=seen is not None)
        yield GaugeMetricFamily(*_named("microbatch_exporter_look_seconds"), value=self._took_s)

    def _fresh(self) -> Mapping[str, QueueStatus] | None:
        with self._lock:  # whoever asks meanwhile waits for the same look
            begun_s = self._clock_s()
            if self._looked_s is not None and begun_s - self._looked_s < FRESH_S:
                return self._seen
            try:
                self._seen = self._look()
            except MicrobatchError as error:
                log.warning("the queues cannot be looked at: %s", error)
                self._seen = None
            self._looked_s = self._clock_s()
            self._took_s = self._looked_s - begun_s
            return self._seen


def _named(name: str) -> tuple[str, str]:
    return name.removesuffix("_total"), EXPORTER_METRICS[name][1]
