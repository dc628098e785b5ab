"""The tally: what this worker has done, in plain numbers that only grow.

Rule: it is always kept, so it costs one look at each job's time and nothing else per job, and needs no
library. The loop counts and others read; what other threads count too is behind a lock. How numbers are
shown is not known here.
"""

from __future__ import annotations

import time
from collections import Counter
from operator import attrgetter
from threading import Lock
from typing import TYPE_CHECKING, Any

from microbatch.common.distribution import FILL_BOUNDS, SECONDS_BOUNDS, SIZE_BOUNDS, Distribution
from microbatch.common.scripts import SettleCode
from microbatch.worker.observer import Observer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from contextlib import AbstractContextManager

    from microbatch.common.jobs.entry import Entry
    from microbatch.common.scripts import Claimed, Outcome
    from microbatch.common.settings import QueueSettings
    from microbatch.worker.batch import Batch
    from microbatch.worker.observer import BatchEnd

__all__ = ["OUTCOMES", "QueueTally", "Tally"]

OUTCOMES = ("succeeded", "failed", "expired", "quarantined")
_LATE = (SettleCode.FINAL, SettleCode.MOVED)
_state = attrgetter("state")
_written_ms = attrgetter("written_ms")
_enqueued_ms = attrgetter("entry.enqueued_ms")


class _Open:
    """A batch in flight, and the context in which its processor runs."""

    __slots__ = (
        "_clock_s",
        "began_s",
        "claimed_ms",
        "fine",
        "ran_s",
        "reason",
        "run_s",
        "settled_s",
        "size",
        "spoilt",
    )

    def __init__(self, reason: str, size: int, claimed_ms: int, clock_s: Callable[[], float]) -> None:
        self._clock_s = clock_s
        self.reason = reason
        self.size = size
        self.claimed_ms = claimed_ms
        self.began_s = clock_s()
        self.run_s: float | None = None
        self.ran_s = 0.0  # when the processor came back
        self.settled_s: float | None = None
        self.fine = 0
        self.spoilt = 0

    def __enter__(self) -> None:
        self.ran_s = self._clock_s()

    def __exit__(self, *_: object) -> None:
        begun_s, self.ran_s = self.ran_s, self._clock_s()
        self.run_s = self.ran_s - begun_s


class QueueTally:
    """One queue's numbers. Counts grow from the start of the worker; seconds are seconds.

    Attributes:
        jobs: Jobs that ended here, by outcome.
        batches: Batches that ended here, by close reason and outcome.
        redis_errors: Calls that failed, by operation.
        queue_wait: Per job, from when it could run to its claim.
        batching_wait: Per batch, how long its oldest job waited for company.
        run: Per batch, in the processor.
        slots: How many batches it may hold at a time.
        settle: Per batch, from the processor's answer to Redis's.
        latency: Per job that ended, from its submit to its end.
    """

    def __init__(self, settings: QueueSettings) -> None:
        self.settings = settings
        self.slots = settings.concurrency
        self.jobs: Counter[str] = Counter(dict.fromkeys(OUTCOMES, 0))
        self.batches: Counter[tuple[str, str]] = Counter()
        self.redis_errors: Counter[str] = Counter()
        self.retries = 0
        self.late = 0
        self.reclaimed = 0
        self.handed_back = 0
        self.dead_letters = 0
        self.capacity = 0
        self.size = Distribution(SIZE_BOUNDS)
        self.fill = Distribution(FILL_BOUNDS)
        self.queue_wait = Distribution(SECONDS_BOUNDS)
        self.batching_wait = Distribution(SECONDS_BOUNDS)
        self.run = Distribution(SECONDS_BOUNDS)
        self.settle = Distribution(SECONDS_BOUNDS)
        self.latency = Distribution(SECONDS_BOUNDS)
        self.open: dict[str, _Open] = {}


class Tally(Observer):
    """Counts what it hears.

    Args:
        queues: The settings of each queue that will be heard of.
        clock_s: A monotonic clock.
    """

    def __init__(
        self, queues: Iterable[QueueSettings], *, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self.queues = {each.queue: QueueTally(each) for each in queues}
        self.loop_stalls = 0
        self._clock_s = clock_s
        self._lock = Lock()

    def claimed(self, queue: str, batch_id: str, claimed: Claimed, entries: Sequence[Entry]) -> None:
        """Note when a batch began, and how long its jobs had waited."""
        mine, now_ms, size = self.queues[queue], claimed.claimed_ms, len(entries)
        mine.open[batch_id] = _Open(claimed.reason, size, now_ms, self._clock_s)
        if not entries:
            return
        limit = max(claimed.most, size)  # a claim that is repeated may ask for less than it has got already
        mine.size.add(size)
        mine.fill.add(size / limit)
        mine.capacity += limit
        waits_ms = list(map(now_ms.__sub__, map(_written_ms, entries)))
        if min(waits_ms) < 0:  # a foreign entry id may lie ahead of the clock
            waits_ms = [max(0, wait_ms) for wait_ms in waits_ms]
        mine.queue_wait.add_thousandths(waits_ms)
        if claimed.reason == "size":  # it was full when its last job came
            waited_ms = max(0, waits_ms[0] - waits_ms[-1])
        elif claimed.reason == "wait":
            waited_ms = waits_ms[0]
        else:
            return
        mine.batching_wait.add(min(waited_ms, mine.settings.max_wait_ms) / 1000)

    def processing(self, batch: Batch[Any]) -> AbstractContextManager[object]:
        """Measure the run."""
        return self.queues[batch.queue].open.get(batch.id) or super().processing(batch)

    def settled(
        self, queue: str, batch_id: str, outcomes: Sequence[Outcome], codes: Sequence[SettleCode] | None
    ) -> None:
        """Count how jobs ended, and how long it took from their submit."""
        mine = self.queues[queue]
        if codes is not None:
            mine.late += sum(code in _LATE for code in codes)
            outcomes = [each for each, code in zip(outcomes, codes, strict=True) if code not in _LATE]
        states = Counter(map(_state, outcomes))
        retries = states.pop("retry", 0)
        mine.retries += retries
        mine.dead_letters += states["failed"]
        for state, count in states.items():
            mine.jobs[state] += count
        flight = mine.open.get(batch_id)
        if flight is None:
            return
        flight.fine += states["succeeded"]
        flight.spoilt += states["failed"] + retries
        now_s = flight.settled_s = self._clock_s()
        now_ms = flight.claimed_ms + round((now_s - flight.began_s) * 1000)
        if retries:
            outcomes = [each for each in outcomes if each.state != "retry"]
        mine.latency.add_thousandths(map(now_ms.__sub__, map(_enqueued_ms, outcomes)))

    def ended(self, queue: str, batch_id: str, end: BatchEnd) -> None:
        """Count a batch."""
        mine = self.queues[queue]
        flight = mine.open.pop(batch_id, None)
        if flight is None:
            return
        mine.batches[flight.reason, _outcome(flight) if end == "settled" else end] += 1
        if flight.run_s is not None:
            mine.run.add(flight.run_s)
            if flight.settled_s is not None:
                mine.settle.add(max(0.0, flight.settled_s - flight.ran_s))

    def quarantined(self, queue: str) -> None:
        """Count a dead letter that never was a job."""
        mine = self.queues[queue]
        mine.jobs["quarantined"] += 1
        mine.dead_letters += 1

    def handed_back(self, queue: str, jobs: int) -> None:
        """Count jobs that another worker goes on with."""
        with self._lock:
            self.queues[queue].handed_back += jobs

    def resized(self, queue: str, slots: int) -> None:
        """Note how many batches it may hold."""
        self.queues[queue].slots = slots

    def reclaimed(self, queue: str, jobs: int, failed: int) -> None:
        """Count jobs of dead workers."""
        with self._lock:
            self.queues[queue].reclaimed += jobs + failed

    def redis_failed(self, queue: str, operation: str) -> None:
        """Count a failed call."""
        with self._lock:
            self.queues[queue].redis_errors[operation] += 1

    def loop_stalled(self) -> None:
        """Count a stall."""
        with self._lock:
            self.loop_stalls += 1


def _outcome(flight: _Open) -> str:
    if flight.spoilt:
        return "partial" if flight.fine else "failed"
    return "succeeded" if flight.fine else "empty"
