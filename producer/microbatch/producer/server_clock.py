"""The server's clock as this client knows it: so that a server can refuse what its caller has given up on.

Rule: what it says is never later than the truth. The server's answer was true at some moment before it
arrived here; taking the arrival for that moment errs by at most one round trip, towards the past. It is asked
again before its answer is a minute old, and at once where the server disagrees.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from microbatch.common.scripts import redis_time

if TYPE_CHECKING:
    from microbatch.common.connection import Connection
    from microbatch.common.keys import QueueKeys

__all__ = ["ServerClock"]

GOOD_FOR_S = 60.0


class ServerClock:
    """The clock of one queue's server, in terms of this loop's clock."""

    def __init__(self, connection: Connection, keys: QueueKeys) -> None:
        self._connection = connection
        self._keys = keys
        self._now_s = asyncio.get_running_loop().time
        self._heard_s: float | None = None
        self._said_ms = 0

    async def refresh(self) -> None:
        """Ask the server where its last answer is missing, old or in doubt.

        Raises:
            ConnectionFailed: No answer in time.
        """
        if self._heard_s is None or self._now_s() - self._heard_s > GOOD_FOR_S:
            self._said_ms = await self._connection.run(redis_time(self._keys))
            self._heard_s = self._now_s()

    def doubt(self) -> None:
        """The server's clock was set, it seems: ask again."""
        self._heard_s = None

    def at_ms(self, moment_s: float) -> int:
        """What the server's clock will say at this moment of the loop's clock; after `refresh`."""
        return self._said_ms + int((moment_s - (self._heard_s or moment_s)) * 1000)
