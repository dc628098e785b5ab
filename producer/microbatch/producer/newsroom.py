"""The newsroom: what clients hear about jobs while they happen, over one pub/sub connection per client.

Rule: an ear is subscribed, and its lease is written, before anything is looked at; leases are renewed while
it is open. A message is a hint: it may be lost, so after every reconnection each ear is told to look.

It never reads a record.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from typing import TYPE_CHECKING

from microbatch.common.connection.subscription import Subscription
from microbatch.common.errors import ClientClosed, MicrobatchError
from microbatch.common.scripts import EVERYTHING, LEASE_MS, listen
from microbatch.common.stopping import stop

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from microbatch.common.connection import Connection
    from microbatch.common.keys import QueueKeys

__all__ = ["Ear", "Newsroom"]

log = logging.getLogger("microbatch.producer")
RENEW_S = LEASE_MS / 1000 / 3
MESSAGES_LIMIT = 10_000


class Ear:
    """What one listener has heard and not taken yet: at most 10,000 messages, the oldest go first.

    Attributes:
        missed: How many had to go.
    """

    def __init__(self) -> None:
        self._messages: deque[bytes] = deque()
        self._bell = asyncio.Event()
        self._closed = False
        self.missed = 0

    def hear(self, message: bytes | None) -> None:
        """A message; None: something may have been missed."""
        if message is not None:
            if len(self._messages) >= MESSAGES_LIMIT:
                self._messages.popleft()
                self.missed += 1
            self._messages.append(message)
        self._bell.set()

    def close(self) -> None:
        """The client is closed."""
        self._closed = True
        self._bell.set()

    async def wait(self, timeout_s: float | None = None) -> list[bytes]:
        """What was heard since the last call; waits for something, or for the time to pass.

        Raises:
            ClientClosed: The client was closed.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._bell.wait()
        self._bell.clear()
        if self._closed:
            raise ClientClosed
        heard = list(self._messages)
        self._messages.clear()
        return heard


class Newsroom:
    """All ears of one client.

    Args:
        connection: Whose server to listen to.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._timeout_s = connection.endpoint.command_timeout_s
        self._subscription = Subscription(connection, self._arrived, self._connected)
        self._ears: dict[bytes, list[Ear]] = {}
        self._leases: dict[QueueKeys, dict[str, int]] = {}
        self._renewal: asyncio.Task[None] | None = None
        self._closed = False

    @contextlib.asynccontextmanager
    async def ear(self, keys: QueueKeys, subject: str = EVERYTHING) -> AsyncIterator[Ear]:
        """Listen to one job, by its local id, or to all of a queue.

        Raises:
            ConnectionFailed: Redis did not confirm in time.
            ClientClosed: The client is closed.
        """
        if self._closed:
            raise ClientClosed
        channel = keys.events_channel("" if subject == EVERYTHING else subject)
        ear = Ear()
        ears = self._ears.setdefault(channel.encode(), [])
        ears.append(ear)
        leases = self._leases.setdefault(keys, {})
        leases[subject] = leases.get(subject, 0) + 1
        try:
            await self._subscription.add(channel, timeout_s=self._timeout_s)
            await self._connection.run(listen(keys, [subject]))
            if self._renewal is None:
                self._renewal = asyncio.create_task(self._renew(), name="microbatch-leases")
            yield ear
        finally:
            ears.remove(ear)
            leases[subject] -= 1
            if not leases[subject]:
                del leases[subject]
            if not ears and not self._closed:
                self._ears.pop(channel.encode(), None)
                await self._subscription.drop(channel)

    async def close(self) -> None:
        """Stop listening; whoever waits gets `ClientClosed`."""
        self._closed = True
        if self._renewal is not None:
            await stop(self._renewal)
        await self._subscription.close()
        for ears in self._ears.values():
            for ear in ears:
                ear.close()

    def _arrived(self, channel: bytes, message: bytes) -> None:
        for ear in self._ears.get(channel, ()):
            ear.hear(message)

    def _connected(self) -> None:
        for ears in self._ears.values():
            for ear in ears:
                ear.hear(None)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(RENEW_S)
            for keys, subjects in list(self._leases.items()):
                if not subjects:
                    continue
                try:
                    await self._connection.run(listen(keys, list(subjects)))
                except MicrobatchError as error:  # the next one may reach it; listeners look for themselves
                    log.debug("queue %s: a lease to listen was not renewed: %s", keys.queue, error)
