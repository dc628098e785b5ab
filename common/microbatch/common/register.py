"""The register: keeps the names of the queues that this process uses in the list of known queues.

Rule: the list is for people (`microbatch status`); no job waits for it. A name is written when its queue is
first used, and all of them again every half minute, in one command: the list heals after a loss of data,
whoever is still there. A list that cannot be written is told once, and stops nothing.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from microbatch.common.errors import MicrobatchError, ServerError, ServerFull
from microbatch.common.keys import KNOWN_QUEUES
from microbatch.common.stopping import stop

if TYPE_CHECKING:
    from microbatch.common.connection import Connection

__all__ = ["Register", "known_queues", "make_known"]

log = logging.getLogger("microbatch.common")
REWRITE_S: Final = 30.0


class Register:
    """The queues that one process uses.

    Args:
        connection: Where the list is.
        rewrite_s: How often all names are written again.
    """

    def __init__(self, connection: Connection, *, rewrite_s: float = REWRITE_S) -> None:
        self._connection = connection
        self._rewrite_s = rewrite_s
        self._names: set[str] = set()
        self._task: asyncio.Task[None] | None = None
        self._told = False

    async def enter(self, queue: str) -> None:
        """Write a queue's name, now and from now on.

        Raises:
            ConnectionFailed: Redis did not answer in time, or refuses us.
        """
        self._names.add(queue)
        await self._write(queue)
        if self._task is None:
            self._task = asyncio.create_task(self._rewrite(), name="microbatch-register")

    async def close(self) -> None:
        """Write no more."""
        task, self._task = self._task, None
        if task is not None:
            await stop(task)

    async def _write(self, *names: str) -> None:
        try:
            await make_known(self._connection, *names)
        except (ServerError, ServerFull) as error:
            if not self._told:
                log.warning("%s cannot be written, so the queue may not be listed: %s", KNOWN_QUEUES, error)
            self._told = True

    async def _rewrite(self) -> None:
        while True:
            await asyncio.sleep(self._rewrite_s)
            try:
                await self._write(*self._names)
            except MicrobatchError as error:  # the next time will do
                log.debug("%s was not written: %s", KNOWN_QUEUES, error)


async def make_known(connection: Connection, *queues: str) -> None:
    """Note that these queues exist; errors as from `Connection.execute`."""
    await connection.execute("SADD", KNOWN_QUEUES, *queues)


async def known_queues(connection: Connection) -> list[str]:
    """The names of all queues that were ever used, sorted; errors as from `Connection.execute`."""
    names = await connection.execute("SMEMBERS", KNOWN_QUEUES)
    return sorted(name.decode("utf-8", "replace") for name in names)
