"""Lines to Redis: redis-py's connections, each used for one command at a time.

Rule: connecting, authenticating, TLS and parsing are those of redis-py; this file only lends its connections.
Its client would add a pool lock, retries and instruments to every command, at three times the cost of the
command itself, and our calls bring their own retries. A line that failed is closed before it is lent again,
so a late reply never reaches the next caller.
"""

from __future__ import annotations

import asyncio
import math
from typing import Any

import hiredis
from redis.asyncio import connection as aioconnection

__all__ = ["Lines", "packing"]

MOST_LINES = 16


class _Packing:
    """Encode commands in C: redis-py's asyncio connections do it in Python, per argument."""

    def pack_command(self, *args: Any) -> list[bytes]:
        return [hiredis.pack_command(args)]


class _Tcp(_Packing, aioconnection.Connection):
    pass


class _Tls(_Packing, aioconnection.SSLConnection):
    pass


class _Unix(_Packing, aioconnection.UnixDomainSocketConnection):
    pass


def packing(connection_class: type) -> type:
    """The same kind of connection, with faster encoding."""
    return {
        aioconnection.Connection: _Tcp,
        aioconnection.SSLConnection: _Tls,
        aioconnection.UnixDomainSocketConnection: _Unix,
    }[connection_class]


class Lines:
    """Connections of one event loop, opened when they are needed and kept until `close`.

    Args:
        pool: Makes the connections.
    """

    def __init__(self, pool: aioconnection.ConnectionPool) -> None:
        self._pool = pool
        self._free: list[aioconnection.AbstractConnection] = []
        self._lent: set[aioconnection.AbstractConnection] = set()
        self._room = asyncio.Semaphore(MOST_LINES)

    async def send(self, *command: str | bytes | float) -> Any:
        """Send one command and return its reply; a reply that is an error is raised.

        Raises:
            redis.exceptions.RedisError: As redis-py raises it.
            OSError: The network.
        """
        async with self._room:
            # The last used one first: the others may age until somebody closes them.
            line = self._free.pop() if self._free else self._pool.make_connection()
            self._lent.add(line)
            try:
                await line.send_packed_command(line.pack_command(*command), check_health=False)
                # No timer here: the caller bounds the time. On any failure, cancellation too, redis-py closes
                # the connection, and opens it again when it is next used.
                return await line.read_response(timeout=math.inf)
            finally:
                self._lent.discard(line)
                self._free.append(line)

    async def drop_free(self) -> None:
        """Close the lines that nobody uses, so that the next commands open new ones."""
        free, self._free = self._free, []
        for line in free:
            await line.disconnect(nowait=True)

    async def close(self) -> None:
        """Close every line."""
        await self.drop_free()
        for line in list(self._lent):
            await line.disconnect(nowait=True)
