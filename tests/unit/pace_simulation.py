"""A queue and one worker, simulated: what a pace does to throughput and latency.

Rule: events in virtual milliseconds, nothing sleeps; the same seed gives the same run. The worker claims as
the claim script does: when enough wait, when the hold is over, never while all slots are taken.
"""

from __future__ import annotations

import heapq
import itertools
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from microbatch.worker.pace import Pace, Plan

if TYPE_CHECKING:
    from collections.abc import Callable

CALL_MS, JOB_MS = 5.0, 0.02
CLAIM_MS, SETTLE_MS = 0.5, 0.5
BACK_MS = (0.2, 1.5)  # a caller with a result comes with its next job after a time between these
WARM_UP = 0.3


class Fixed:
    """`max_batch_size` and `max_wait_ms`, as without a pace."""

    def __init__(self, size: int, wait_ms: float, slots: int) -> None:
        self.slots = slots
        self.wait_ms = wait_ms
        self._plan = Plan(size, size, wait_ms)

    def plan(self, now_ms: float) -> Plan:  # noqa: ARG002 - as `Pace` has it
        return self._plan

    def claimed(self, batch: str, enqueued_ms: list[int], now_ms: float) -> None: ...
    def ended(self, batch: str, now_ms: float) -> None: ...
    def freed(self, now_ms: float) -> None: ...
    def idle(self) -> None: ...


@dataclass
class Figures:
    """What came out, after the warm-up."""

    jobs_per_s: float
    mean_batch: float
    p95_ms: float


@dataclass
class Load:
    """Callers in a closed loop, and arrivals by chance."""

    callers: int = 0
    poisson_per_s: float = 0.0


@dataclass
class Simulation:
    """One run."""

    pace: Fixed | Pace
    load: Load
    slots: int
    exclusive: bool
    length_ms: float = 8_000.0
    seed: int = 1
    now_ms: float = 0.0
    _events: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _order: itertools.count[int] = field(default_factory=itertools.count)
    _waiting: list[tuple[float, bool]] = field(default_factory=list)
    _running: int = 0
    _claiming: bool = False
    _device_free_ms: float = 0.0
    _latencies: list[float] = field(default_factory=list)
    _sizes: list[int] = field(default_factory=list)

    def run(self) -> Figures:
        self._random = random.Random(self.seed)  # noqa: S311 - a simulation
        for _ in range(self.load.callers):
            self._at(self._random.uniform(0, CALL_MS), lambda: self._arrive(comes_back=True))
        if self.load.poisson_per_s:
            self._at(0.0, self._by_chance)
        while self._events:
            self.now_ms, _, event = heapq.heappop(self._events)
            if self.now_ms > self.length_ms:
                break
            event()
        counted_s = self.length_ms * (1 - WARM_UP) / 1000
        latencies = sorted(self._latencies)
        late = self._sizes[len(self._sizes) // 3 :]
        return Figures(
            len(latencies) / counted_s, sum(late) / len(late), latencies[int(len(latencies) * 0.95)]
        )

    def _at(self, delay_ms: float, event: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now_ms + delay_ms, next(self._order), event))

    def _by_chance(self) -> None:
        self._arrive(comes_back=False)
        self._at(self._random.expovariate(self.load.poisson_per_s / 1000), self._by_chance)

    def _arrive(self, *, comes_back: bool) -> None:
        self._waiting.append((self.now_ms, comes_back))
        self._look()

    def _look(self) -> None:
        if self._claiming or self._running >= min(self.slots, self.pace.slots):
            return
        if not self._waiting:
            self.pace.idle()
            return
        plan = self.pace.plan(self.now_ms)
        hold_ms = plan.hold_ms
        if isinstance(self.pace, Fixed):  # its wait counts from the oldest job's arrival
            hold_ms = self._waiting[0][0] + plan.hold_ms - self.now_ms
        if len(self._waiting) >= plan.fill or hold_ms <= 1e-6:
            self._claiming = True
            self._at(CLAIM_MS / 2, lambda: self._take(plan.size))
        else:
            self._at(hold_ms, self._look)

    def _take(self, size: int) -> None:
        batch, self._waiting = self._waiting[:size], self._waiting[size:]
        self._at(CLAIM_MS / 2, lambda: self._start(batch))

    def _start(self, batch: list[tuple[float, bool]]) -> None:
        self._claiming = False
        self._running += 1
        self._sizes.append(len(batch))
        name = str(len(self._sizes))
        self.pace.claimed(name, [int(since_ms) for since_ms, _ in batch], self.now_ms)
        begins_ms = max(self.now_ms, self._device_free_ms) if self.exclusive else self.now_ms
        ends_ms = begins_ms + CALL_MS + JOB_MS * len(batch)
        self._device_free_ms = ends_ms
        self._at(ends_ms - self.now_ms, lambda: self._end(name, batch))
        self._look()

    def _end(self, name: str, batch: list[tuple[float, bool]]) -> None:
        self.pace.ended(name, self.now_ms)
        self._at(SETTLE_MS, lambda: self._settle(batch))

    def _settle(self, batch: list[tuple[float, bool]]) -> None:
        self._running -= 1
        self.pace.freed(self.now_ms)
        for since_ms, comes_back in batch:
            if self.now_ms > self.length_ms * WARM_UP:
                self._latencies.append(self.now_ms - since_ms)
            if comes_back:
                self._at(self._random.uniform(*BACK_MS), lambda: self._arrive(comes_back=True))
        self._look()
