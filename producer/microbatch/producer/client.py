"""The blocking client: the same methods for threads, notebooks and scripts.

Rule: every method is one step over the asynchronous client, which runs on the process's loop thread; all
threads of a process share its round trips. Nothing starts before the first call; a forked child starts
its own. User code (iterables, callbacks) runs in the caller's thread only.

The price: one way to the loop thread and back per call. Monkey-patched threads (gevent, eventlet) are not
supported.
"""

from __future__ import annotations

import contextlib
from itertools import islice
from time import monotonic
from typing import TYPE_CHECKING, Any, Self, Unpack, cast

from microbatch.common.errors import ClientClosed, MicrobatchError, NotReplicated, QueueFull
from microbatch.common.worker_facts import HEARTBEAT_LIMIT_S
from microbatch.producer.handle import AsyncJobHandle, ticket_of
from microbatch.producer.job_handle import JobHandle
from microbatch.producer.portal import Portal
from microbatch.producer.waiting import Harvest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from microbatch.common.jobs.update import BatchSummary, JobUpdate
    from microbatch.common.scripts import QueueStatus
    from microbatch.common.settings import ClientSettings
    from microbatch.producer.async_client import AsyncClient
    from microbatch.producer.options import SubmitOptions
    from microbatch.producer.ticket import Ticket

__all__ = ["Client"]

AT_ONCE = 4096
"""Payloads of an iterable that are taken at a time."""


class Client:
    """Submits jobs and waits for their results, from any thread.

    Use it as `with Client(...) as client`, or just call it and `close()` it at the end.

    Args:
        url: As for `AsyncClient`.
        settings: As for `AsyncClient`.

    Raises:
        SettingsError: A URL or a setting that cannot be used.
    """

    def __init__(self, url: str | None = None, *, settings: ClientSettings | None = None) -> None:
        self._portal = Portal(url, settings)

    def open(self) -> None:
        """Connect; errors as from `AsyncClient.open`. The first call of any method does it too."""
        self._portal.open()

    def close(self) -> None:
        """Close as `AsyncClient.close` does. Harmless when repeated."""
        self._portal.close()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def submit(
        self, queue: str, payload: Any, *, job_id: str | None = None, **options: Unpack[SubmitOptions]
    ) -> JobHandle:
        """Submit one job; see `AsyncClient.submit`."""
        job = self._portal.run(lambda client: client.submit(queue, payload, job_id=job_id, **options))
        return JobHandle(self._portal, job)

    def call(
        self, queue: str, payload: Any, *, job_id: str | None = None, **options: Unpack[SubmitOptions]
    ) -> Any:
        """Submit one job and wait for its result; see `AsyncClient.call`."""
        return self._portal.run(lambda client: client.call(queue, payload, job_id=job_id, **options))

    def submit_many(
        self, queue: str, payloads: Iterable[Any], **options: Unpack[SubmitOptions]
    ) -> list[JobHandle]:
        """Submit many jobs in few round trips; see `AsyncClient.submit_many`.

        The iterable runs in this thread, a few thousand payloads at a time.
        """
        timeout_s = options.get("timeout_s")
        ends_s = None if timeout_s is None else monotonic() + timeout_s
        rest = iter(payloads)
        jobs: list[JobHandle] = []

        async def part(client: AsyncClient) -> list[AsyncJobHandle]:
            if ends_s is not None:
                options["timeout_s"] = max(0.0, ends_s - monotonic())
            return await client.submit_many(queue, taken, **options)

        try:
            while (taken := list(islice(rest, AT_ONCE))) or not jobs:
                jobs += [JobHandle(self._portal, job) for job in self._portal.run(part)]
                if not taken:
                    break
        except (QueueFull, NotReplicated) as full:
            accepted = [JobHandle(self._portal, cast("AsyncJobHandle", job)) for job in full.accepted]
            full.accepted = (*jobs, *accepted)
            raise
        except MicrobatchError as error:
            if jobs:
                error.add_note(f"{len(jobs)} jobs of earlier parts were accepted")
            raise
        return jobs

    def as_completed(
        self, jobs: Iterable[JobHandle], *, timeout_s: float | None = None
    ) -> Iterator[JobHandle]:
        """Give the jobs as they finish, failed ones too; see `AsyncClient.as_completed`."""
        handles = list(jobs)

        async def begin(client: AsyncClient) -> tuple[Harvest, dict[Ticket, JobHandle]]:
            by_ticket = {ticket_of(job.on(client)): job for job in handles}
            return await Harvest(by_ticket, timeout_s).__aenter__(), by_ticket

        async def stop(_: AsyncClient) -> None:
            harvest.stop()

        harvest, by_ticket = self._portal.run(begin)
        try:
            while batch := self._portal.run(lambda _: harvest.next_batch()):
                for ticket, _ in batch:
                    yield by_ticket[ticket]
        finally:
            with contextlib.suppress(ClientClosed):
                self._portal.run(stop)

    def map(
        self,
        queue: str,
        payloads: Iterable[Any],
        *,
        timeout_s: float | None = None,
        return_exceptions: bool = False,
    ) -> list[Any]:
        """Submit one job per payload and wait for all results; see `AsyncClient.map`."""
        given = list(payloads)  # a generator is user code: it runs here, not on the loop
        return self._portal.run(
            lambda client: client.map(queue, given, timeout_s=timeout_s, return_exceptions=return_exceptions)
        )

    def job(self, full_id: str) -> JobHandle:
        """A job by its id alone; see `AsyncClient.job`."""

        async def find(client: AsyncClient) -> AsyncJobHandle:
            return client.job(full_id)

        return JobHandle(self._portal, self._portal.run(find))

    def queues(self) -> list[str]:
        """The names of all queues that were ever used; see `AsyncClient.queues`."""
        return self._portal.run(lambda client: client.queues())

    def queue_status(self, queue: str, *, heartbeat_limit_s: float = HEARTBEAT_LIMIT_S) -> QueueStatus:
        """How a queue is doing; see `AsyncClient.queue_status`."""
        return self._portal.run(
            lambda client: client.queue_status(queue, heartbeat_limit_s=heartbeat_limit_s)
        )

    def events(self, queue: str) -> Iterator[JobUpdate]:
        """Everything that happens to the jobs of a queue from now on; see `AsyncClient.events`."""
        return self._portal.iterate(lambda client: client.events(queue))

    def recent_batches(self, queue: str, *, limit: int = 100) -> list[BatchSummary]:
        """The batches that were settled last; see `AsyncClient.recent_batches`."""
        return self._portal.run(lambda client: client.recent_batches(queue, limit=limit))

    def __repr__(self) -> str:
        return repr(self._portal).replace("Portal", "Client", 1)
