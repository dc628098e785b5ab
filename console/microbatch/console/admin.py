"""The operators' client: what looks after queues, and submits nothing.

Rule: it only wires. It holds one connection, and hands out the noun for each thing that operators do.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

from microbatch.common import scripts
from microbatch.common.connection import Connection, Endpoint
from microbatch.common.embedded import open_url
from microbatch.common.errors import ClientClosed
from microbatch.common.identifiers import check_queue
from microbatch.common.keys import QueueKeys
from microbatch.common.register import known_queues
from microbatch.common.seals import seals_of
from microbatch.common.settings import ClientSettings
from microbatch.common.worker_facts import HEARTBEAT_LIMIT_S
from microbatch.console.crew import Crew
from microbatch.console.dead_letters import DeadLetters
from microbatch.console.jobs import Jobs
from microbatch.console.queue_control import QueueControl, whoami
from microbatch.console.schedules import Schedules
from microbatch.producer.recent import recent_batches

if TYPE_CHECKING:
    from microbatch.common.embedded import EmbeddedServer
    from microbatch.common.jobs.update import BatchSummary
    from microbatch.common.scripts import Fleet, QueueStatus

__all__ = ["Admin"]


class Admin:
    """Looks after queues, from one event loop. Use it as `async with Admin(...) as admin`.

    Args:
        url: Where Redis is; None: as the settings say.
        settings: Time-outs; None: from the environment (`MICROBATCH_...`) and the defaults.

    Raises:
        SettingsError: A URL or a setting that cannot be used.

    Example:
        >>> async with Admin("redis://localhost:6379/0") as admin:
        ...     for letter in await admin.dead_letters("embed").newest(10):
        ...         print(letter.job_id, letter.error.message)
    """

    def __init__(self, url: str | None = None, *, settings: ClientSettings | None = None) -> None:
        if settings is None:
            settings = ClientSettings() if url is None else ClientSettings(redis_url=url)
        self._settings = settings
        self._url = settings.redis_url if url is None else url
        self._connection: Connection | None = None
        self._server: EmbeddedServer | None = None

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            ConnectionFailed: Redis did not answer within `command_timeout_s`.
        """
        url, self._server = await open_url(self._url)
        self._connection = Connection(Endpoint(url, self._settings.command_timeout_s, "microbatch-admin"))
        try:
            await self._connection.execute("PING")
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._close()

    async def _close(self) -> None:
        connection, self._connection = self._connection, None
        server, self._server = self._server, None
        if connection is not None:
            await connection.close()
        if server is not None:
            await asyncio.to_thread(server.stop)

    async def queues(self) -> list[str]:
        """The names of all queues that were ever used, sorted."""
        return await known_queues(self._opened())

    async def queue_status(self, queue: str, *, heartbeat_limit_s: float = HEARTBEAT_LIMIT_S) -> QueueStatus:
        """How a queue is doing; a worker that is silent for longer than the limit does not count.

        Raises:
            ValueError: Not a valid queue name.
        """
        keys, limit_ms = QueueKeys(check_queue(queue)), round(heartbeat_limit_s * 1000)
        return await self._opened().run(scripts.queue_status(keys, heartbeat_limit_ms=limit_ms))

    async def fleet(self, queue: str) -> Fleet:
        """The workers of a queue and what each holds; errors as from `queue_status`."""
        return await self._opened().run(scripts.fleet(QueueKeys(check_queue(queue))))

    async def recent_batches(self, queue: str, *, limit: int = 100) -> list[BatchSummary]:
        """The batches that were settled last, the newest first; errors as from `queue_status`."""
        return await recent_batches(self._opened(), QueueKeys(check_queue(queue)), limit)

    def dead_letters(self, queue: str) -> DeadLetters:
        """The dead letters of a queue; no round trip.

        Raises:
            ValueError: Not a valid queue name.
            ClientClosed: The client is not open.
        """
        return DeadLetters(self._opened(), queue, seals_of(self._settings))

    def jobs(self, queue: str) -> Jobs:
        """The jobs of a queue: list, show, cancel, retry; no round trip. Errors as from `dead_letters`."""
        return Jobs(self._opened(), queue, seals_of(self._settings))

    def schedules(self, queue: str) -> Schedules:
        """The recurring jobs of a queue; no round trip. Errors as from `dead_letters`."""
        limit = self._settings.max_queue_length_for(queue)
        return Schedules(self._opened(), queue, max_queue_length=limit, seals=seals_of(self._settings))

    def control(self, queue: str, *, who: str | None = None) -> QueueControl:
        """Pause, drain, resume, purge or limit a queue; no round trip. Errors as from `dead_letters`.

        Args:
            queue: Its name.
            who: How `microbatch status` names whoever holds it up; None: `user@host` of this process.
        """
        return QueueControl(self._opened(), queue, who=whoami() if who is None else who)

    def crew(self, queue: str | None = None, *, who: str | None = None) -> Crew:
        """The workers, to list and to order; no round trip. Errors as from `dead_letters`.

        Args:
            queue: Those of this queue; None: of all queues.
            who: How workers name whoever ordered something in their logs; None: `user@host` of this process.
        """
        queues = None if queue is None else [check_queue(queue)]
        return Crew(self._opened(), queues, who=whoami() if who is None else who)

    def _opened(self) -> Connection:
        if self._connection is None:
            raise ClientClosed
        return self._connection
