"""Who carries out the schedule: one method per fault, each of which undoes itself in the end.

Rule: a deed that comes too late (its victim is down, or Redis is) is noted as missed. Nothing is chosen here.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, cast

import redis.exceptions
from tests.chaos.link import Direction, Trap, calls_of
from tests.chaos.run.site import NotInSync

from microbatch.common.scripts.script import load

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from tests.chaos.history import Window
    from tests.chaos.link import Link
    from tests.chaos.run.schedule import Deed
    from tests.chaos.run.site import Site
    from tests.chaos.run.unit import Unit

__all__ = ["Missed", "Nemeses"]

DOWN_S = 10.0


class Missed(Exception):
    """The deed came too late."""


class Nemeses:
    """Does harm.

    Args:
        site: Its servers are killed.
        admin: A client of its primary that passes no link.
        units: To be killed, frozen and told to leave.
        links: One for each unit.
    """

    def __init__(self, site: Site, admin: Any, units: Mapping[str, Unit], links: Mapping[str, Link]) -> None:
        self.done: Counter[str] = Counter()
        self.missed: Counter[str] = Counter()
        self.outages: list[tuple[float, float]] = []
        self.failovers: list[Window] = []
        self._site = site
        self._admin = admin
        self._units = units
        self._links = links
        self._at_server = asyncio.Lock()  # one harm to the server at a time: else they undo each other
        self._deeds: dict[str, Callable[[Deed], Awaitable[None]]] = {
            "kill": self._kill,
            "freeze": self._freeze,
            "term": self._term,
            "term twice": self._term_twice,
            "kill client": self._kill,
            "CLIENT KILL": self._client_kill,
            "CLIENT PAUSE": self._client_pause,
            "SCRIPT FLUSH": self._script_flush,
            "stall": self._stall,
            "reset": self._reset,
            "refuse": self._refuse,
            "half-open": self._half_open,
            "slow": self._slow,
            "cut": self._cut,
            "lose": self._lose,
            "server kill": self._server_kill,
            "memory": self._memory,
            "failover": self._failover,
        }

    async def do(self, deed: Deed) -> str:
        """Do it, wait until it is over, and say what came of it."""
        try:
            await self._deeds[deed.name](deed)
        except (Missed, NotInSync, redis.exceptions.RedisError, OSError) as error:
            self.missed[deed.name] += 1
            return f"missed: {error or type(error).__name__}"
        self.done[deed.name] += 1
        return "done"

    async def heal(self) -> None:
        """Undo whatever is still going on."""
        for link in self._links.values():
            link.heal()
        for unit in self._units.values():
            if unit.is_frozen:
                unit.send(signal.SIGCONT)
        async with self._at_server:
            await asyncio.to_thread(self._site.primary.start)
            await self._admin.config_set("maxmemory", 0)

    # --- processes ---------------------------------------------------------------------------------

    def _send(self, deed: Deed, number: signal.Signals, cause: str = "") -> None:
        if not self._units[deed.target].send(number, cause):
            raise Missed("it is down or frozen")

    async def _kill(self, deed: Deed) -> None:
        self._send(deed, signal.SIGKILL, "kill")

    async def _freeze(self, deed: Deed) -> None:
        unit = self._units[deed.target]
        self._send(deed, signal.SIGSTOP, "freeze")
        frozen = unit.pid
        await asyncio.sleep(deed.lasts_s)
        if unit.pid == frozen:  # else it was killed meanwhile
            self._send(deed, signal.SIGCONT)

    async def _term(self, deed: Deed) -> None:
        self._send(deed, signal.SIGTERM, "term")

    async def _term_twice(self, deed: Deed) -> None:
        self._send(deed, signal.SIGTERM, "term")
        await asyncio.sleep(0.05)  # two signals at once are one
        self._send(deed, signal.SIGTERM, "term")

    # --- links -------------------------------------------------------------------------------------

    async def _stall(self, deed: Deed) -> None:
        link, which = self._links[deed.target], str(deed.detail[0])
        link.stall(*(() if which == "both" else (cast("Direction", which),)))
        await self._later_heal(deed)

    async def _refuse(self, deed: Deed) -> None:
        self._links[deed.target].refuse()
        self._links[deed.target].reset()
        await self._later_heal(deed)

    async def _slow(self, deed: Deed) -> None:
        self._links[deed.target].slow(64, 0.002)
        await self._later_heal(deed)

    async def _later_heal(self, deed: Deed) -> None:
        await asyncio.sleep(deed.lasts_s)
        self._links[deed.target].heal()

    async def _reset(self, deed: Deed) -> None:
        self._links[deed.target].reset()

    async def _half_open(self, deed: Deed) -> None:
        self._links[deed.target].half_open()

    async def _cut(self, deed: Deed) -> None:
        after_bytes, direction = deed.detail
        self._links[deed.target].cut_after(int(after_bytes), cast("Direction", direction))

    async def _lose(self, deed: Deed) -> None:
        lost, script, nth, then = deed.detail
        wanted = calls_of(load(str(script)).sha)
        trap = Trap(wanted, int(nth), cast("Any", lost), cast("Any", then))
        self._links[deed.target].lay(trap)

    # --- the server --------------------------------------------------------------------------------

    async def _client_kill(self, deed: Deed) -> None:
        await self._admin.execute_command("CLIENT", "KILL", "TYPE", deed.detail[0], "SKIPME", "yes")

    async def _client_pause(self, deed: Deed) -> None:
        if self._at_server.locked():
            raise Missed("the server has other troubles")
        async with self._at_server:
            mode = str(deed.detail[0])
            await self._admin.execute_command("CLIENT", "PAUSE", round(deed.lasts_s * 1000), mode)
            await asyncio.sleep(deed.lasts_s)

    async def _script_flush(self, _: Deed) -> None:
        await self._admin.script_flush()

    async def _server_kill(self, deed: Deed) -> None:
        if self._at_server.locked():
            raise Missed("the server has other troubles")
        async with self._at_server:
            killed, began_s = self._site.primary.pid, time.time()
            os.kill(killed, signal.SIGKILL)
            await asyncio.sleep(deed.lasts_s)
            async with asyncio.timeout(DOWN_S):
                while True:
                    # Its guardian may need a moment to see it; until then there is nothing to start anew.
                    await asyncio.to_thread(self._site.primary.start)
                    if self._site.primary.pid != killed:
                        break
            self.outages.append((began_s, time.time()))

    async def _failover(self, deed: Deed) -> None:
        if self._at_server.locked():
            raise Missed("the server has other troubles")
        async with self._at_server:
            self.failovers.append(await self._site.failover(deed.lasts_s))

    async def _memory(self, deed: Deed) -> None:
        if self._at_server.locked():
            raise Missed("the server has other troubles")
        async with self._at_server:
            used = (await self._admin.info("memory"))["used_memory"]
            await self._admin.config_set("maxmemory", max(1, round(used * 0.8)))
            await asyncio.sleep(deed.lasts_s)
            with contextlib.suppress(redis.exceptions.RedisError):
                await self._admin.config_set("maxmemory", 0)
                return
            raise Missed("the limit is lifted when all is healed")
