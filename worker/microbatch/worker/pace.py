"""The pace of one queue in one worker: how large a batch, after what wait, how many at once.

Rule: capacity that is idle takes what is there at once. A wait must pay: only where all capacity is busy, and
what soon arrives (`Arrivals`) is a burst that makes the batch enough larger for more jobs to end per second
than without the wait (`DurationModel`). Runs that hold each other up while they overlap had better not: one
slot is used then, because two halves of a batch on one device pay for its call twice.

Pure: it reads no clock and knows neither Redis nor a processor. Times are milliseconds, of any one clock.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from microbatch.worker.arrivals import Arrivals
from microbatch.worker.duration_model import FADING, DurationModel, RunSums

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Pace", "Plan"]

BURST = 2.0
"""A wait must find jobs that much faster than they come at all: those that come by chance need none."""

GAIN = 1.1
"""A wait must promise that much more than none: estimates are noisy, and a wait that gains nothing costs."""

SHARING = 0.5
"""Above this share of their overlap in which runs held each other up, they had better not overlap."""

SPAN_MS = 10
"""The longest wait; a shorter `max_wait_ms` shortens it."""

CLEAN = 0.05
PROBE_EVERY_RUNS, PROBE_RUNS = 400, 6
_FORGETTING = 0.8
_DOUBT_MS = 1.0


@dataclass(frozen=True, slots=True)
class Plan:
    """How to form the next batch: at most `size` jobs, and wait for `fill` of them at most `hold_ms`."""

    size: int
    fill: int
    hold_ms: float


def _rate(found: float, wait_ms: float, size: int, model: DurationModel) -> float:
    n = min(found, size)
    return n / (wait_ms + model.duration_ms(n)) if n else 0.0


class _Run:
    __slots__ = ("before", "began_ms", "held_up_ms", "size")

    def __init__(self, size: int, began_ms: float, before: set[str]) -> None:
        self.size = size
        self.began_ms = began_ms
        self.before = before  # batches that ran already, and have not ended since
        self.held_up_ms = 0.0


class Pace:
    """Decides for one queue.

    Args:
        max_batch_size: The most jobs of a batch.
        max_wait_ms: The longest wait.
        slots: How many batches may run at once.
        target_p95_ms: What the time from submit to result should stay below; None: no target.
    """

    def __init__(
        self, max_batch_size: int, max_wait_ms: float, slots: int, target_p95_ms: float | None = None
    ) -> None:
        self._max_batch_size = max_batch_size
        self._all_slots = slots
        self._target_p95_ms = target_p95_ms
        self._arrivals = Arrivals(int(min(SPAN_MS, max_wait_ms)))
        self._runs: dict[str, _Run] = {}
        self._fleet = RunSums()
        self._own = RunSums()
        self._new = RunSums()
        self._held_up_ms = self._longer_ms = _DOUBT_MS  # careful until it is known
        self._until_probe = PROBE_RUNS
        self._probing = 0
        self._freed_ms: float | None = None
        self._held: Plan | None = None
        self._hold_ends_ms = 0.0

    @property
    def model(self) -> DurationModel | None:
        """What the fleet knows about durations."""
        return DurationModel.fitted(self._fleet.plus(self._own))

    @property
    def slots(self) -> int:
        """How many batches should run at once."""
        alone = self._longer_ms > SHARING * self._held_up_ms and not self._probing
        return 1 if alone else self._all_slots

    def resize(self, slots: int) -> None:
        """So many batches may run at once from now on."""
        self._all_slots = slots

    def plan(self, now_ms: float) -> Plan:
        """How to form a batch for a slot that is free now; a wait that has begun goes on."""
        if self._held is None:
            self._held = self._decided(now_ms)
            self._hold_ends_ms = now_ms + self._held.hold_ms
        return replace(self._held, hold_ms=max(0.0, self._hold_ends_ms - now_ms))

    def _decided(self, now_ms: float) -> Plan:
        size, model = self._max_batch_size, self.model
        if model is None:
            return Plan(size, size, 0.0)
        if self._target_p95_ms is not None:
            # Who just missed a batch waits for it, and rides in the next one: two runs fit into the target.
            size = min(size, model.most_jobs(self._target_p95_ms / 2))
        is_spare = len(self._runs) + 1 < self.slots
        is_calm = self._freed_ms is None or now_ms - self._freed_ms > SPAN_MS
        if is_spare or is_calm:
            return Plan(size, size, 0.0)
        return self._best(size, model)

    def _best(self, size: int, model: DurationModel) -> Plan:
        found = self._arrivals.found or [0.0]
        usual = self._arrivals.rate_per_ms * BURST
        best, hold_ms = GAIN * _rate(found[0], 0, size, model), 0
        for wait_ms in range(1, len(found)):
            rate = _rate(found[wait_ms], wait_ms, size, model)
            # Jobs say in whole milliseconds when they came: a wait seems to find half of one more.
            if rate > best and found[wait_ms] - found[0] > usual * (wait_ms + 0.5):
                best, hold_ms = rate, wait_ms
        if not hold_ms:
            return Plan(size, size, 0.0)
        return Plan(size, max(2, min(size, int(found[hold_ms]))), float(hold_ms))

    def claimed(self, batch: str, enqueued_ms: Iterable[int], now_ms: float) -> None:
        """A batch begins to run."""
        self._held = None
        times_ms = list(enqueued_ms)
        self._arrivals.claimed(times_ms, now_ms)
        self._runs[batch] = _Run(len(times_ms), now_ms, set(self._runs))

    def idle(self) -> None:
        """There is nothing to wait with."""
        self._held = None

    def ended(self, batch: str, now_ms: float) -> None:
        """Its processor has answered; its results are on their way."""
        run = self._runs.pop(batch, None)
        if run is None:
            return
        for other in self._runs.values():
            if batch in other.before:
                other.before.discard(batch)
                if not other.before:
                    other.held_up_ms = now_ms - other.began_ms
        took_ms = now_ms - run.began_ms
        if run.before:  # an earlier one still runs
            run.held_up_ms = took_ms
        if run.size:
            self._learn(run.size, took_ms, run.held_up_ms)

    def freed(self, now_ms: float) -> None:
        """A slot became free."""
        self._freed_ms = now_ms
        self._arrivals.opened(now_ms)

    def _learn(self, size: int, took_ms: float, held_up_ms: float) -> None:
        if held_up_ms <= CLEAN * took_ms:
            one = RunSums.of(size, took_ms)
            self._own = self._own.faded(FADING).plus(one)
            self._new = self._new.plus(one)
            if not self._probing:
                self._until_probe -= 1
                if self._until_probe <= 0:  # what runs share may have changed: let some overlap again
                    self._until_probe, self._probing = PROBE_EVERY_RUNS, PROBE_RUNS
        elif (model := self.model) is not None:
            longer_ms = min(held_up_ms, max(0.0, took_ms - model.duration_ms(size)))
            self._held_up_ms = self._held_up_ms * _FORGETTING + held_up_ms
            self._longer_ms = self._longer_ms * _FORGETTING + longer_ms
            self._probing = max(0, self._probing - 1)

    def take_news(self) -> RunSums:
        """The clean runs since the last call, to be told to the fleet."""
        news, self._new = self._new, RunSums()
        return news

    def hear(self, fleet: RunSums) -> None:
        """What the fleet knows, our own runs among it."""
        self._fleet, self._own = fleet, RunSums()
