"""The bell of one queue: rung when there may be work, heard by its claim loop.

Rule: ringing is cheap, may be wrong, and is never lost between looking and waiting, because the loop silences
the bell before it looks.
"""

from __future__ import annotations

import asyncio
import math

__all__ = ["Bell"]


class Bell:
    """Rung by wakes, heartbeats, reconnections and resumption."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """Say that there may be work."""
        self._rung.set()

    def silence(self) -> None:
        """Forget earlier rings: we are about to look."""
        self._rung.clear()

    @property
    def is_rung(self) -> bool:
        """Whether somebody rang since it was silenced."""
        return self._rung.is_set()

    async def wait(self, timeout_s: float | None = None) -> None:
        """Return when rung, or after `timeout_s`."""
        if timeout_s is None:
            await self._rung.wait()
            return
        # A plain timer: on a quiet server Redis's own BLOCK would fire up to 100 ms late. Whole milliseconds,
        # rounded up: a loop that counts in them would round down, look too early, and have to look again.
        timer = asyncio.get_running_loop().call_later(math.ceil(timeout_s * 1000) / 1000, self._rung.set)
        try:
            await self._rung.wait()
        finally:
            timer.cancel()
