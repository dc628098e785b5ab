"""The recurring job of a chaos run, as its operator sees it: since when it ticks, and how it ends.

Rule: it says exactly which ticks have to have had a job: all from the schedule's declaration on, until
everything that was missed has been made up. Only then is it paused, because a pause says that no
more are wanted.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from tests.chaos.run.reckoning import AHEAD_MS, ticks_between
from tests.chaos.run.workload import TICK_NAME, TICK_QUEUE

from microbatch.common.keys import QueueKeys
from microbatch.console.admin import Admin

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ["Ticking"]

LOOK_S = 0.1


class Ticking:
    """The schedule `TICK_NAME`.

    Args:
        admin: A client of the primary that passes no link.
        url: Where it is, for the operators' own client.
    """

    def __init__(self, admin: Any, url: str) -> None:
        self._admin = admin
        self._url = url
        self.seen_ms: tuple[int, int] | None = None
        """Every tick after the first of these moments, up to the second one, has to have had its job."""

    @property
    def jobs(self) -> Collection[str]:
        """Every job that a tick may have had."""
        return () if self.seen_ms is None else ticks_between(self.seen_ms[0], self.seen_ms[1] + AHEAD_MS)

    async def pause(self) -> None:
        """Wait until no tick is outstanding, and let no further one come."""
        key = QueueKeys(TICK_QUEUE).schedule(TICK_NAME)
        now_ms = round(time.time() * 1000)
        while True:
            last_ms, changed_ms = await self._admin.hmget(key, "last_ms", "changed_ms")
            if last_ms is not None and int(last_ms) >= now_ms:
                break
            await asyncio.sleep(LOOK_S)
        self.seen_ms = int(changed_ms), now_ms
        async with Admin(self._url) as admin:
            await admin.schedules(TICK_QUEUE).pause(TICK_NAME)

    async def remove(self) -> None:
        """Leave nothing of it."""
        async with Admin(self._url) as admin:
            await admin.schedules(TICK_QUEUE).remove(TICK_NAME)
