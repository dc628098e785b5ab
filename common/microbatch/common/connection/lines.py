"""Lines to one server: redis-py's connections, each used for one command at a time.

Rule: connecting, authenticating, TLS and parsing are those of redis-py; this file only lends its connections.
Its client would add a pool lock, retries and instruments to every command, at three times the cost of the
command itself, and our calls bring their own retries. A line that failed is closed before it is lent again,
so a late reply never reaches the next caller.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any

from redis.exceptions import ResponseError

from microbatch.common.errors import ClientClosed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.asyncio.connection import AbstractConnection

    from microbatch.common.connection.openings import Opening

__all__ = ["Lines"]

MOST_LINES = 16


class Lines:
    """Connections of one event loop, opened when they are needed and kept until `close`.

    Args:
        opening: Makes the connections, and connects them.
    """

    def __init__(self, opening: Opening) -> None:
        self._opening = opening
        self._free: list[AbstractConnection] = []
        self._lent: set[AbstractConnection] = set()
        self._doomed: set[AbstractConnection] = set()
        self._room = asyncio.Semaphore(MOST_LINES)
        self._retired = False
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
            line = self._free.pop() if self._free else self._opening.line()
            self._lent.add(line)
            try:
                if not line.is_connected:
                    await self._opening.connect(line)
                await line.send_packed_command(line.pack_command(*command), check_health=False)
                # No timer here: the caller bounds the time. On any failure, cancellation too, redis-py closes
                # the connection, and it is opened again when it is next used.
                return await line.read_response(timeout=math.inf)
            finally:
                self._lent.discard(line)
                await self._put_back(line)

    async def converse(self, *commands: Sequence[str | bytes | float]) -> list[Any]:
        """Send several commands at once over one line; returns a reply for each, the errors among them too.

        Raises:
            ClientClosed: After `close`.
            redis.exceptions.RedisError: As redis-py raises it, where it is no reply.
            OSError: The network.
        """
        async with self._room:
            if self._closed:
                raise ClientClosed
            line = self._free.pop() if self._free else self._opening.line()
            self._lent.add(line)
            try:
                if not line.is_connected:
                    await self._opening.connect(line)
                packed = [part for command in commands for part in line.pack_command(*command)]
                await line.send_packed_command(packed, check_health=False)
                return [await _reply(line) for _ in commands]
            finally:
                self._lent.discard(line)
                await self._put_back(line)

    async def open_line(self) -> AbstractConnection:
        """A connected line that is the caller's own, to be disconnected by him."""
        line = self._opening.line()
        await self._opening.connect(line)
        return line

    async def _put_back(self, line: AbstractConnection) -> None:
        if self._closed or self._retired:
            await line.disconnect(nowait=True)
        elif line in self._doomed:
            self._doomed.discard(line)
            await line.disconnect(nowait=True)
        elif line.is_connected:
            self._free.append(line)
        else:  # connected ones first
            self._free.insert(0, line)

    async def retire(self) -> None:
        """Keep no line open any more: nobody is sent here; calls that are under way end as they may."""
        self._retired = True
        await self.drop_free()

    async def drop_free(self) -> None:
        """Close the lines that nobody uses, so that the next commands open new ones."""
        free, self._free = self._free, []
        for line in free:
            await line.disconnect(nowait=True)

    async def drop(self) -> None:
        """Close every line, those that are in use when they come back."""
        self._doomed |= self._lent
        await self.drop_free()

    async def close(self) -> None:
        """Close every line; commands that are under way fail, and none is sent any more."""
        self._closed = True
        await self.drop_free()
        for line in list(self._lent):
            await line.disconnect(nowait=True)


async def _reply(line: AbstractConnection) -> Any:
    try:
        return await line.read_response(timeout=math.inf)
    except ResponseError as error:
        return error
