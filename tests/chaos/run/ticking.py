"""The schedules of a chaos run, when all harm is done: since when the workers' own ticks, and how both end.

Rule: it says exactly which ticks of the workers' schedule have to have had a job: all from its declaration
on, until everything that was missed has been made up. Only then is it paused, because a pause says that no
more are wanted. The pause of the operators' schedule is one more of their orders.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from tests.chaos.run.recurring import AHEAD_MS, ticks_between
from tests.chaos.run.workload import ROTA_NAME, ROTA_QUEUE, TICK_NAME, TICK_QUEUE

from microbatch.common.keys import QueueKeys
from microbatch.console.admin import Admin

if TYPE_CHECKING:
    from collections.abc import Collection

    from tests.chaos.run.journal import Journal

__all__ = ["Ticking"]

LOOK_S = 0.1


class Ticking:
    """The schedules `TICK_NAME` and `ROTA_NAME`.

    Args:
        admin: A client of the primary that passes no link.
        url: Where it is, for the operators' own client.
        journal: The order that ends the operators' schedule is written down there.
    """

    def __init__(self, admin: Any, url: str, journal: Journal) -> None:
        self._journal = journal
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
        now_ms = round(time.time() * 1000)
        key = QueueKeys(TICK_QUEUE).schedule(TICK_NAME)
        await self._seen_to(key, now_ms)
        self.seen_ms = int(await self._admin.hget(key, "changed_ms")), now_ms
        key = QueueKeys(ROTA_QUEUE).schedule(ROTA_NAME)
        if await self._admin.exists(key) and not await self._admin.hexists(key, "paused"):
            await self._seen_to(key, now_ms)
        async with Admin(self._url) as admin:
            await admin.schedules(TICK_QUEUE).pause(TICK_NAME)
            last_ms = await self._admin.hget(key, "last_ms")
            self._journal.asked("cron pause", ROTA_NAME, *([last_ms.decode()] if last_ms else []))
            self._journal.answered(str(await admin.schedules(ROTA_QUEUE).pause(ROTA_NAME)))

    async def _seen_to(self, key: str, until_ms: int) -> None:
        while int(await self._admin.hget(key, "last_ms") or 0) < until_ms:  # noqa: ASYNC110 - no event for it
            await asyncio.sleep(LOOK_S)

    async def remove(self) -> None:
        """Leave nothing of them."""
        async with Admin(self._url) as admin:
            await admin.schedules(TICK_QUEUE).remove(TICK_NAME)
            await admin.schedules(ROTA_QUEUE).remove(ROTA_NAME)
