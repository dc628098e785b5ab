"""The servers of a chaos run: a primary, and where failovers are allowed, a replica that takes its place.

Rule: it says exactly which writes a failover may undo: none from before the moment for which the replica was
seen to have everything. Whoever reaches the primary does so through `links`, which a failover swaps.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from typing import TYPE_CHECKING, Any

import redis.asyncio as aioredis
from tests.chaos.history import Window
from tests.chaos.link import Link

from microbatch.common.embedded import EmbeddedServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

__all__ = ["NotInSync", "Site", "site_at"]

ALWAYS = ("--appendfsync", "always", "--repl-diskless-sync-delay", "0")
IN_SYNC_S = 3.0
LOOK_S = 0.01
DOWN_S = 0.5
"""Between two primaries there is none: whoever heard the old one has written that down by then."""


class NotInSync(Exception):
    """The replica is still on its way: a failover now would be no failover, but a loss of everything."""


class Site:
    """What runs as Redis.

    Args:
        folder: Each server has a directory of its own in it.
        program: The servers' program; None finds one.
    """

    def __init__(self, folder: Path, program: Path | None) -> None:
        self._folder = folder
        self._program = program
        self._made = 0
        self._replication: Link | None = None
        self.links: list[Link] = []
        self.replica: EmbeddedServer | None = None
        self.primary = self._server()

    @property
    def socket(self) -> str:
        """Where the primary listens."""
        return _socket(self.primary)

    def _server(self) -> EmbeddedServer:
        self._made += 1
        directory = self._folder / f"data-{self._made}"
        return EmbeddedServer(directory, program=self._program, extra_args=ALWAYS)

    async def replicate(self, replication: Link) -> None:
        """Give the primary a replica, which reaches it through this link."""
        self._replication = replication
        self.replica = self._server()
        await asyncio.to_thread(self.replica.start)
        async with _client(self.replica) as client:  # no argument: it would follow again after a restart
            await client.execute_command("REPLICAOF", "127.0.0.1", replication.port)

    async def failover(self, lag_s: float) -> Window:
        """Lose the primary for good: its replica takes its place, and gets a replica of its own.

        Args:
            lag_s: For so long before its end the primary's writes do not reach the replica.

        Raises:
            NotInSync: The replica does not have everything.
        """
        replica, replication, old = self.replica, self._replication, self.primary
        assert replica is not None
        assert replication is not None
        began_s = await self._in_sync_since(replica)
        replication.stall()
        await asyncio.sleep(lag_s)
        os.kill(old.pid, signal.SIGKILL)
        await asyncio.sleep(DOWN_S)
        async with _client(replica) as client:
            await client.execute_command("REPLICAOF", "NO", "ONE")
        self.primary, ended_s = replica, time.time()
        for link in (replication, *self.links):
            link.swap(self.socket)
        replication.heal()
        await asyncio.to_thread(old.stop)
        await self.replicate(replication)
        return Window(began_s, ended_s)

    async def _in_sync_since(self, replica: EmbeddedServer) -> float:
        async with _client(self.primary) as upper, _client(replica) as lower:
            began_s, wanted = time.time(), (await upper.info("replication"))["master_repl_offset"]
            ends_s = began_s + IN_SYNC_S
            while time.time() < ends_s:
                state = await lower.info("replication")
                if state.get("master_link_status") == "up" and state["slave_repl_offset"] >= wanted:
                    return began_s
                await asyncio.sleep(LOOK_S)
        raise NotInSync("the replica does not have everything")

    def stop(self) -> None:
        for server in (self.replica, self.primary):
            if server is not None:
                server.stop()


def _socket(server: EmbeddedServer) -> str:
    return server.url.removeprefix("unix://").partition("?")[0]


def _client(server: EmbeddedServer) -> Any:
    return aioredis.Redis.from_url(server.url, protocol=2)


@contextlib.asynccontextmanager
async def site_at(folder: Path, program: Path | None, *, replicated: bool) -> AsyncIterator[Site]:
    """A site that is up; with a replica where that is asked for."""
    site = Site(folder, program)
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(site.stop)
        await asyncio.to_thread(site.primary.start)
        if replicated:
            await site.replicate(await stack.enter_async_context(Link(site.socket, parsed=False)))
        yield site
