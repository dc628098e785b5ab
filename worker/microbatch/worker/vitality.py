"""When a worker may say that it lives, and when it may call others dead.

Rule: pure decisions over times that are passed in. A worker whose loop is stuck must fall silent, so that
others take its jobs; a worker that was cut off itself must not call the whole fleet dead when it returns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["BEATS_BEFORE_JUDGING", "Vitality", "beat_interval_s", "pause_s"]

BEATS_BEFORE_JUDGING = 2
BLOCKED_GRACE_S = 2.0  # longer than any beat interval, with which the loop ticks
LONGEST_INTERVAL_S = 0.7
SHARED_INTERVAL_S = 1.0


def beat_interval_s(heartbeat_limit_s: float, queues: int = 1) -> float:
    """Seconds between two beats at each queue: four chances within the limit, and at least one look a second.

    A beat is also the idle worker's look. With several queues it comes once a second at each, so that the
    background of two queues is two calls a second; with one it comes somewhat more often.
    """
    return min(LONGEST_INTERVAL_S if queues == 1 else SHARED_INTERVAL_S, heartbeat_limit_s / 4)


def pause_s(interval_s: float, next_dead_s: float | None, jitter_s: float) -> float:
    """Seconds until the next beat: earlier than `interval_s` where a silent worker counts as dead before.

    So a dead worker is found when its limit has passed, however long the interval is.

    Args:
        interval_s: As from `beat_interval_s`.
        next_dead_s: Until another worker counts as dead unless it beats; None where there is no other.
        jitter_s: Not all that live look at the same moment.
    """
    return interval_s if next_dead_s is None else min(interval_s, next_dead_s + jitter_s)


class Vitality:
    """One worker's own condition.

    Args:
        loop_stall_limit_s: How long the loop may not tick before the heartbeat falls silent.
        heartbeat_limit_s: After which silence workers are called dead.
        now_s: The present, on a monotonic clock.
    """

    def __init__(self, loop_stall_limit_s: float, heartbeat_limit_s: float, now_s: float) -> None:
        self._loop_stall_limit_s = loop_stall_limit_s
        self._gap_limit_s = heartbeat_limit_s / 2
        self._ticked_s = now_s
        self._beat_s = now_s
        self._unbroken = 0

    def ticked(self, now_s: float) -> None:
        """The loop is alive."""
        self._ticked_s = now_s

    def silent_s(self, now_s: float) -> float:
        """For how long the loop has not ticked."""
        return now_s - self._ticked_s

    def is_stalled(self, now_s: float, due_s: Iterable[float] = ()) -> bool:
        """Whether the loop has been stuck for too long, and no batch is within its time-out (`due_s`)."""
        return now_s - self._ticked_s > self._loop_stall_limit_s and all(due < now_s for due in due_s)

    def is_blocked(self, now_s: float, due_s: Iterable[float]) -> bool:
        """Whether a batch that is past its time-out (`due_s`) holds the loop, which cannot stop it."""
        grace_s = BLOCKED_GRACE_S
        return now_s - self._ticked_s > grace_s and any(due + grace_s < now_s for due in due_s)

    def beat_begins(self, now_s: float) -> None:
        """A beat is about to be sent; after a long gap (this process was frozen) it is like the first one.

        Whatever froze this process, such as its machine, may have frozen the others too.
        """
        if now_s - self._beat_s > self._gap_limit_s:
            self._unbroken = 0
        self._beat_s = now_s

    def beat_succeeded(self) -> None:
        """A beat reached Redis."""
        self._unbroken += 1

    def beat_failed(self) -> None:
        """A beat did not reach Redis: what others did meanwhile is unknown."""
        self._unbroken = 0

    @property
    def may_judge(self) -> bool:
        """Whether the connection has been unbroken for long enough to call others dead."""
        return self._unbroken > BEATS_BEFORE_JUDGING
