"""What a wait would have brought: how many jobs there are when a slot becomes free, and how many soon after.

Rule: it learns from what happened anyway. Each job says when it was enqueued, so every claim tells, also one
that did not wait, what a wait of 1, 2 ... ms would have found. Callers that come back with their next job as
soon as they have a result show up here as a burst; arrivals by chance do not.

Pure: times are milliseconds of Redis's clock, and are given.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Arrivals"]

WEIGHT = 0.1
"""How much the last opening counts."""

_FADING = 0.98  # of what is known about the rate, per batch

_MOST_OPEN = 8


class _Opening:
    """A moment at which a batch could leave; the first job decides, where none waited."""

    __slots__ = ("counts", "since_ms", "started_ms")

    def __init__(self, since_ms: float, span_ms: int) -> None:
        self.since_ms = since_ms
        self.started_ms: float | None = None
        self.counts = [0] * (span_ms + 1)


class Arrivals:
    """The arrivals around the openings of one worker.

    Args:
        span_ms: The longest wait that is considered.
    """

    def __init__(self, span_ms: int) -> None:
        self._span_ms = span_ms
        self._open: deque[_Opening] = deque(maxlen=_MOST_OPEN)
        self.found: list[float] | None = None
        """By wait in ms: how many jobs it finds, on the average; None while nothing is known."""
        self._jobs = 0.0
        self._time_ms = 0.0
        self._last_ms: float | None = None

    @property
    def rate_per_ms(self) -> float:
        """How many jobs come at all."""
        return self._jobs / self._time_ms if self._time_ms else 0.0

    def opened(self, now_ms: float) -> None:
        """A slot became free."""
        self._open.append(_Opening(now_ms, self._span_ms))

    def claimed(self, enqueued_ms: Iterable[int], now_ms: float) -> None:
        """A batch was claimed, of jobs that were enqueued then."""
        times_ms = sorted(enqueued_ms)
        if self._last_ms is not None:
            self._jobs = self._jobs * _FADING + len(times_ms)
            self._time_ms = self._time_ms * _FADING + max(0.0, now_ms - self._last_ms)
        self._last_ms = now_ms
        for opening in self._open:
            if opening.started_ms is None and times_ms:
                opening.started_ms = max(opening.since_ms, times_ms[0])
            if opening.started_ms is not None:
                self._count(opening, opening.started_ms, times_ms)
        while self._open:
            first = self._open[0]
            if first.started_ms is None or now_ms <= first.started_ms + self._span_ms:
                return
            self._learn(self._open.popleft())

    def _count(self, opening: _Opening, started_ms: float, times_ms: list[int]) -> None:
        for time_ms in times_ms:
            late_ms = max(0, int(time_ms - started_ms + 1)) if time_ms > started_ms else 0
            if late_ms > self._span_ms:
                return
            opening.counts[late_ms] += 1

    def _learn(self, opening: _Opening) -> None:
        total, found = 0, []
        for count in opening.counts:
            total += count
            found.append(float(total))
        if self.found is None:
            self.found = found
        else:
            self.found = [old + WEIGHT * (new - old) for old, new in zip(self.found, found, strict=True)]
