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

from microbatch.common.errors import ClientClosed

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
        self._closed = False

    async def send(self, *command: str | bytes | float) -> Any:
        """Send one command and return its reply; a reply that is an error is raised.

        Raises:
            ClientClosed: After `close`.
            redis.exceptions.RedisError: As redis-py raises it.
            OSError: The network.
        """
        async with self._room:
            if self._closed:
                raise ClientClosed
            # The last used one first: the others may age until somebody closes them.
            line = self._free.pop() if self._free else self._pool.make_connection()
            self._lent.add(line)
            try:
                if not line.is_connected:
                    await self._connect(line)
                await line.send_packed_command(line.pack_command(*command), check_health=False)
                # No timer here: the caller bounds the time. On any failure, cancellation too, redis-py closes
                # the connection, and it is opened again when it is next used.
                return await line.read_response(timeout=math.inf)
            finally:
                self._lent.discard(line)
                await self._put_back(line)

    async def _connect(self, line: aioconnection.AbstractConnection) -> None:
        try:
            await line.connect()
        except BaseException:
            # Over a unix socket redis-py leaves a line open whose handshake failed: in the wrong database.
            await line.disconnect(nowait=True)
            raise

    async def _put_back(self, line: aioconnection.AbstractConnection) -> None:
        if self._closed:
            await line.disconnect(nowait=True)
        elif line.is_connected:
            self._free.append(line)
        else:  # connected ones first
            self._free.insert(0, line)

    async def drop_free(self) -> None:
        """Close the lines that nobody uses, so that the next commands open new ones."""
        free, self._free = self._free, []
        for line in free:
            await line.disconnect(nowait=True)

    async def close(self) -> None:
        """Close every line; commands that are under way fail, and none is sent any more."""
        self._closed = True
        await self.drop_free()
        for line in list(self._lent):
            await line.disconnect(nowait=True)
