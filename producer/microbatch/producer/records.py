"""Records: reading the truth about jobs whose push may not come.

Rule: only jobs that somebody awaits right now are read, many in one call; the looks of one tick at one
queue share their calls. A look that fails is repeated by the slow timer; only the first look at another
client's job, which nothing else would settle, tells its waiters about the error.

It never reads the reply channel: `inbox.py` does.
"""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING

from microbatch.common import scripts
from microbatch.common.errors import MicrobatchError, ProtocolError, ResultNotFound, ServerFull
from microbatch.common.jobs.happenings import parse_lines
from microbatch.common.jobs.states import FINAL_STATES, JobState
from microbatch.common.jobs.status import JobStatus, parse_status
from microbatch.common.netstrings import read_netstrings
from microbatch.common.stopping import stop
from microbatch.producer.ticket import NOT_REGISTERED, Ticket
from microbatch.producer.unsealer import opened_value

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from microbatch.common.connection import Connection
    from microbatch.common.jobs.update import LogLine
    from microbatch.common.scripts import RecordView
    from microbatch.common.seals import Seals
    from microbatch.producer.mailbox import Mailbox

__all__ = ["RecordReader"]

log = logging.getLogger("microbatch.producer")
CHUNK_JOBS = 256
_FINAL = frozenset(str(state) for state in FINAL_STATES)


class RecordReader:
    """Reads the records of one client's awaited jobs.

    Args:
        connection: Where to read.
        client: The client's id: who is to be told about jobs of others.
        listen: Makes sure that a mailbox is subscribed; may raise `MicrobatchError`.
        poll_interval_s: How often all awaited jobs are read, about.
        seals: Open results; None: they are not sealed.
    """

    def __init__(
        self,
        connection: Connection,
        client: str,
        listen: Callable[[Mailbox], Awaitable[None]],
        poll_interval_s: float,
        seals: Seals | None = None,
    ) -> None:
        self._connection = connection
        self._client = client
        self._listen = listen
        self._interval_s = poll_interval_s
        self._seals = seals
        self._wanted: dict[Mailbox, dict[Ticket, None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def look(self, ticket: Ticket) -> None:
        """Read this ticket's record soon."""
        wanted = self._wanted.get(ticket.mailbox)
        if wanted is None:
            wanted = self._wanted[ticket.mailbox] = {}
            task = asyncio.create_task(self._read_wanted(ticket.mailbox), name="microbatch-records")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        wanted[ticket] = None

    async def poll(self, mailboxes: Callable[[], Sequence[Mailbox]]) -> None:
        """Read the records of all awaited jobs again and again, for ever."""
        while True:
            await asyncio.sleep(self._interval_s * random.uniform(0.8, 1.2))  # noqa: S311 - jitter
            try:
                for mailbox in mailboxes():
                    await self._read_awaited(mailbox)
            except Exception:
                # A bug of ours: a task that ended here would leave every lost push lost.
                log.exception("reading the awaited records broke; they are read again later")

    async def status(self, ticket: Ticket) -> JobStatus:
        """All that is known about one job.

        Raises:
            ResultNotFound: There is no record of it.
            ProtocolError: Its record is not one.
            ConnectionFailed: No answer in time.
        """
        view = await self._connection.run(scripts.job_status(ticket.mailbox.keys, ticket.local))
        if view is None:
            raise ResultNotFound(ticket.id)
        return parse_status(ticket.id, view)

    async def logs(self, ticket: Ticket, known: int = 0) -> list[LogLine]:
        """The lines of a job's log with numbers above `known`; errors as in `status`."""
        view = await self._connection.run(scripts.job_log(ticket.mailbox.keys, ticket.local, known))
        if view is None:
            raise ResultNotFound(ticket.id)
        lines = parse_lines(read_netstrings(view.packed), view.total - view.kept + 1)
        return [line for line in lines if line.number > known]

    async def cancel(self, ticket: Ticket) -> bool:
        """End a job; returns whether it is cancelled now. Errors as in `status`."""
        mailbox = ticket.mailbox
        state = await self._connection.run(scripts.cancel(mailbox.keys, ticket.local, ttl_ms=scripts.KEPT_MS))
        if state == "unknown":
            raise ResultNotFound(ticket.id)
        if state == "foreign":
            raise ProtocolError(f"the key of job {ticket.id} holds something else than a job record")
        if state == JobState.CANCELLED:
            mailbox.settle(ticket, state, None)
        return state == JobState.CANCELLED

    async def close(self) -> None:
        """Stop reading."""
        await stop(*self._tasks)

    async def _read_awaited(self, mailbox: Mailbox) -> None:
        # Not in `poll` itself, whose frame would keep these tickets, and their results, until it looks again.
        awaited = list(mailbox.awaited)
        for first in range(0, len(awaited), CHUNK_JOBS):
            await self._read(mailbox, awaited[first : first + CHUNK_JOBS])

    async def _read_wanted(self, mailbox: Mailbox) -> None:
        wanted = self._wanted[mailbox]
        try:
            while wanted:
                tickets = list(wanted)[:CHUNK_JOBS]
                for ticket in tickets:
                    del wanted[ticket]
                await self._read(mailbox, tickets)
        finally:
            # In the same step as the last check of `wanted`: a look in between would be forgotten.
            del self._wanted[mailbox]

    async def _read(self, mailbox: Mailbox, tickets: Sequence[Ticket]) -> None:
        for register in (True, False):
            chunk = [
                ticket
                for ticket in tickets
                if ticket.waiters and (ticket.heard == NOT_REGISTERED) is register
            ]
            if not chunk:
                continue
            try:
                await self._read_chunk(mailbox, chunk, register=register)
            except MicrobatchError as error:
                log.debug("reading %d records failed: %s", len(chunk), error)
                for ticket in chunk if register else ():
                    ticket.tell(error)

    async def _read_chunk(self, mailbox: Mailbox, tickets: Sequence[Ticket], *, register: bool) -> None:
        await self._listen(mailbox)
        hearing = mailbox.hearing.number  # before the look: a reconnection during it makes it out of date
        locals_ = [ticket.local for ticket in tickets]
        registered = register
        try:
            views = await self._connection.run(
                scripts.await_results(mailbox.keys, self._client, locals_, register=register, check=True)
            )
        except ServerFull:  # a look that writes nothing still works there; the timer looks again
            registered = False
            views = await self._connection.run(
                scripts.await_results(mailbox.keys, self._client, locals_, register=False, check=False)
            )
        for ticket, view in zip(tickets, views, strict=True):
            if ticket.state is None and not self._conclude(ticket, view) and registered is register:
                ticket.heard = hearing

    def _conclude(self, ticket: Ticket, view: RecordView) -> bool:
        """Settle a ticket by its record, or end the waiting for it; False: the job goes on."""
        mailbox = ticket.mailbox
        if view.state in _FINAL:
            try:
                queue = mailbox.keys.queue
                value = (
                    None
                    if view.value is None
                    else opened_value(self._seals, queue, ticket.local, view.state, view.value)
                )
            except ProtocolError as error:
                value = error
            mailbox.settle(ticket, view.state, value)
        elif view.state == "later":  # the reply was full of large values
            self.look(ticket)
        elif view.state == "foreign":
            ticket.tell(ProtocolError(f"the key of job {ticket.id} holds something else than a job record"))
        elif view.state != "unknown":
            return False
        elif ticket.heard == NOT_REGISTERED or self._is_gone(ticket):
            ticket.tell(ResultNotFound(ticket.id))
        return True

    def _is_gone(self, ticket: Ticket) -> bool:
        # A record that is not kept goes with the push that carries its result: leave it time to arrive.
        now_s = asyncio.get_running_loop().time()
        if ticket.missed_s is None:
            ticket.missed_s = now_s
        return now_s - ticket.missed_s > self._interval_s / 2
