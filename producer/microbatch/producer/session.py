"""The session: what an open client consists of, from the first connection to the last.

Rule: opening either gives a session whose server has answered, or leaves nothing behind. Closing lets
submits land first, then tells whoever still waits, then closes connections, then lets go of the embedded
server.

It never decides anything about jobs.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

from microbatch.common.connection import Connection, Endpoint
from microbatch.common.embedded import open_url
from microbatch.common.identifiers import new_client_id
from microbatch.common.seals import seals_of
from microbatch.producer.admission import Admission
from microbatch.producer.inbox import Inbox

if TYPE_CHECKING:
    from microbatch.common.embedded import EmbeddedServer
    from microbatch.common.settings import ClientSettings

__all__ = ["Session"]


class Session:
    """One client's connections and what runs over them.

    Attributes:
        connection: For calls.
        inbox: Where results arrive.
        admission: Where jobs are admitted.
    """

    def __init__(self, url: str, settings: ClientSettings, server: EmbeddedServer | None) -> None:
        client = new_client_id()
        self._settings = settings
        self._server = server
        self.connection = Connection(Endpoint(url, settings.command_timeout_s, "microbatch-producer"))
        seals = seals_of(settings)
        self.inbox = Inbox(self.connection, client, poll_interval_s=settings.poll_interval_s, seals=seals)
        self.admission = Admission(self.connection, client, self.inbox, settings, seals)

    @classmethod
    async def open(cls, settings: ClientSettings) -> Self:
        """Connect, and start the embedded server where the URL asks for it.

        Raises:
            ConnectionFailed: Redis did not answer within `command_timeout_s`.
            EmbeddedServerError: The embedded server cannot be started.
        """
        url, server = await open_url(settings.redis_url)
        session = cls(url, settings, server)
        try:
            await session.connection.execute("PING")
        except BaseException:
            await session._disconnect()
            raise
        return session

    async def close(self) -> None:
        """Let what was handed over land, for at most `command_timeout_s`, and disconnect."""
        try:
            await self.admission.close(self._settings.command_timeout_s)
        finally:
            await self._disconnect()

    async def _disconnect(self) -> None:
        try:
            await self.inbox.close()
        finally:
            await self.connection.close()
            if self._server is not None:
                await asyncio.to_thread(self._server.stop)
