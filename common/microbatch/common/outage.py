"""When to speak of something that fails again and again: at its start, now and then, and at its end.

Rule: an hour without Redis is some hundred lines of a log and not some ten thousand, and the line that says
it is over is never missing. Pure: the time is given, and whoever asks does the logging.
"""

from __future__ import annotations

__all__ = ["REPEAT_S", "Outage"]

REPEAT_S = 30.0


class Outage:
    """Failures in a row of one thing; `now_s` is any clock that only goes forward, in seconds."""

    def __init__(self) -> None:
        self._began_s: float | None = None
        self._told_s = 0.0

    def fails(self, now_s: float) -> bool:
        """It failed: whether to say so."""
        if self._began_s is None:
            self._began_s = now_s
        elif now_s - self._told_s < REPEAT_S:
            return False
        self._told_s = now_s
        return True

    def ends(self, now_s: float) -> float | None:
        """It works: how long it did not, in seconds; None where it worked before, too."""
        began_s, self._began_s = self._began_s, None
        return None if began_s is None else now_s - began_s
