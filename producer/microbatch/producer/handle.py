"""The asynchronous handle of a job.

Rule: a handle is a face of a ticket and has no state of its own; any number of handles of one job, and of
tasks that await one of them, see the same outcome, and cancelling one waiter never hurts another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from microbatch.common.errors import ClientClosed
from microbatch.producer.waiting import wait_for
from microbatch.producer.watching import follow

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator

    from microbatch.common.jobs.status import JobStatus
    from microbatch.common.jobs.update import JobUpdate, LogLine
    from microbatch.producer.ticket import Ticket

__all__ = ["AsyncJobHandle", "ticket_of"]


class AsyncJobHandle:
    """A job that was submitted, here or elsewhere.

    Drop it, and it costs nothing: the job goes on, and `client.job(id)` finds it again.

    Example:
        >>> job = await client.submit("embed", "hello")
        >>> vector = await job
    """

    __slots__ = ("_ticket",)

    def __init__(self, ticket: Ticket) -> None:
        self._ticket = ticket

    @property
    def id(self) -> str:
        """The full id, `queue/local`: enough to find the job from any host."""
        return self._ticket.id

    @property
    def queue(self) -> str:
        """The queue's name."""
        return self._ticket.mailbox.keys.queue

    @property
    def result_key(self) -> str:
        """The Redis key of the job's record: a hash whose `state` and, once final, `result` can be read."""
        return self._ticket.mailbox.keys.job(self._ticket.local)

    def __await__(self) -> Generator[Any, None, Any]:
        """Wait for the result, without a time-out; errors as in `result`."""
        return self.result().__await__()

    async def result(self, timeout_s: float | None = None) -> Any:
        """Wait for the result. May be called again, and by several tasks: all get the same object.

        Args:
            timeout_s: How long to wait, in seconds; None waits without end. The job goes on afterwards.

        Raises:
            JobFailed: Its processor failed it, or the protocol did (`WorkerLost`, `JobLost`).
            JobCancelled: It was cancelled.
            JobExpired: It was not started by its deadline.
            ResultNotFound: There is no such job, or its result is past its time to live.
            ResultTimeout: No result within `timeout_s`.
            ConnectionFailed: The record of another client's job could not be read in time.
            ProtocolError: Its record, or its result, is not what microbatch writes.
            ClientClosed: The client is closed.
        """
        ticket = self._ticket
        if ticket.state is None:
            await wait_for(ticket, timeout_s)
        return ticket.outcome()

    async def status(self) -> JobStatus:
        """Look where the job is now. One round trip; waits for nothing.

        Raises:
            ResultNotFound: There is no such job, or its record is past its time to live.
            ConnectionFailed: Redis did not answer in time.
            ProtocolError: Its record is not what microbatch writes.
            ClientClosed: The client is closed.
        """
        return await self._ticket.mailbox.status(self._ticket)

    async def logs(self) -> list[LogLine]:
        """The lines that its processor wrote with `job.log`, as far as they are kept, the oldest first.

        They live as long as the job's record. Lines of the last fraction of a second may be under way; once
        the job is final, all are there.

        Raises:
            MicrobatchError: As from `status`.
        """
        return await self._ticket.mailbox.logs(self._ticket)

    async def subscribe(self) -> AsyncIterator[JobUpdate]:
        """Where the job is now, and then everything that happens to it: `async for ... in job.subscribe()`.

        The first update is the job's present state, then come its latest progress and the lines of its log,
        and what is new from then on; the last one is its end. Nothing is lost with a connection: it comes
        later. After a redrive, subscribe again.

        Raises:
            MicrobatchError: As from `status`.
        """
        if self._ticket.mailbox.hearing.closed:
            raise ClientClosed
        async for update in follow(self._ticket):
            yield update

    async def cancel(self) -> bool:
        """End the job, whatever state it is in: final at once. One round trip.

        A job that waits is never run. One that runs is told to (`job.cancelled` in the processor), and what
        it still answers is dropped. Whoever awaits it gets `JobCancelled`.

        Returns:
            Whether the job is cancelled now; False where it had another outcome already.

        Raises:
            MicrobatchError: As from `status`.
        """
        return await self._ticket.mailbox.cancel(self._ticket)

    def __repr__(self) -> str:
        return f"<AsyncJobHandle {self.id} {self._ticket.state or 'open'}>"


def ticket_of(handle: AsyncJobHandle) -> Ticket:
    """The ticket behind a handle, for this package: users have no use for it."""
    return handle._ticket  # noqa: SLF001 - the one door to it
