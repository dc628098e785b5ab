"""The clock: where this process's time comes from.

Rule: deadlines and ages inside a process use `Clock.now_s`, which is monotonic; everything that two
processes must agree on (enqueue times, heartbeats, TTLs) is judged inside Redis scripts by Redis's own
TIME. Nothing here is ever sent to another process.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol

__all__ = ["Clock", "Deadline", "ManualClock", "SystemClock"]


class Clock(Protocol):
    """A source of monotonic time."""

    def now_s(self) -> float:
        """Seconds since an arbitrary start; never goes back."""
        ...


class SystemClock:
    """The machine's monotonic clock."""

    def now_s(self) -> float:
        """Seconds since the machine started."""
        return time.monotonic()


class ManualClock:
    """A clock that stands still until it is told to advance: for tests of time-dependent decisions."""

    def __init__(self, now_s: float = 0.0) -> None:
        self._now_s = now_s

    def now_s(self) -> float:
        """Seconds that were advanced so far."""
        return self._now_s

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass."""
        self._now_s += seconds


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment by which something must have happened; `timeout_s=None` never comes."""

    clock: Clock
    at_s: float | None

    @classmethod
    def after(cls, timeout_s: float | None, clock: Clock) -> Deadline:
        """The moment `timeout_s` seconds from now."""
        return cls(clock, None if timeout_s is None else clock.now_s() + timeout_s)

    def left_s(self) -> float | None:
        """Seconds that are left, at least 0; None where there is no deadline."""
        return None if self.at_s is None else max(0.0, self.at_s - self.clock.now_s())

    def passed(self) -> bool:
        """Whether the moment has come."""
        return self.at_s is not None and self.clock.now_s() >= self.at_s
