"""Mailboxes: the tickets of one queue, and who of them is awaited right now.

Rule: a mailbox knows tickets weakly and by id, at most one that is open for each id; it knows those that
somebody awaits strongly, because only they are worth a look at their records.

It never does I/O by itself: `records.py` reads.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from microbatch.common.errors import ClientClosed
from microbatch.producer.fragments import WITH_VALUE
from microbatch.producer.ticket import NOT_HEARD, NOT_REGISTERED, Ticket, Waiter

if TYPE_CHECKING:
    from microbatch.common.jobs.status import JobStatus
    from microbatch.common.jobs.update import LogLine
    from microbatch.common.keys import QueueKeys
    from microbatch.producer.newsroom import Newsroom
    from microbatch.producer.records import RecordReader

__all__ = ["Hearing", "Mailbox"]


class Hearing:
    """What the mailboxes of one client share.

    Attributes:
        number: Counts subscriptions: a ticket that was made under another one may have missed its push.
        closed: Whether the client is closed.
        records: Reads records.
        newsroom: Hears what happens to jobs while it happens.
    """

    __slots__ = ("closed", "newsroom", "number", "records")

    def __init__(self, records: RecordReader, newsroom: Newsroom) -> None:
        self.newsroom = newsroom
        self.number = 0
        self.closed = False
        self.records = records


class Mailbox:
    """Where the results of one queue arrive.

    Attributes:
        keys: The queue's keys.
        tickets: The open tickets by local id, weakly.
        awaited: The open tickets with a waiter.
        listening: Whether the queue's reply channel was subscribed once; from then on it is kept.
    """

    __slots__ = ("awaited", "hearing", "keys", "listening", "tickets")

    def __init__(self, keys: QueueKeys, hearing: Hearing) -> None:
        self.keys = keys
        self.hearing = hearing
        self.tickets: dict[str, weakref.ref[Ticket]] = {}
        self.awaited: set[Ticket] = set()
        self.listening = False

    def own(self, local: str) -> Ticket:
        """A ticket for a job that is about to be submitted: before, as its push may overtake the answer."""
        ticket = Ticket(self, local, self.hearing.number)
        self.tickets[local] = weakref.ref(ticket)
        return ticket

    def foreign(self, local: str) -> Ticket:
        """The open ticket of this id, or a fresh one that knows nothing yet."""
        ticket = self.open_ticket(local)
        if ticket is None:
            ticket = self.own(local)
            ticket.heard = NOT_REGISTERED
        return ticket

    def open_ticket(self, local: str) -> Ticket | None:
        """The open ticket of this id, if somebody holds one."""
        known = self.tickets.get(local)
        return None if known is None else known()

    def forget(self, ticket: Ticket) -> None:
        """Drop a ticket from the register. May be called by the garbage collector, in any thread."""
        known = self.tickets.get(ticket.local)
        # The collector clears the reference before it finalizes; a younger ticket of the same id stays.
        if known is not None and known() in (None, ticket):
            self.tickets.pop(ticket.local, None)

    def settle(self, ticket: Ticket, state: str, value: Any) -> None:
        """Settle a ticket by its record."""
        self.forget(ticket)
        ticket.settle(state, value)

    def deliver(self, fragments: list[list[Any]]) -> None:
        """Settle the tickets that a message names; what nobody holds is dropped."""
        take = self.tickets.pop
        for fragment in fragments:
            known = take(fragment[0], None)
            ticket = None if known is None else known()
            if ticket is None:
                continue
            if len(fragment) == WITH_VALUE:
                ticket.settle(fragment[1], fragment[2])
                continue
            self.tickets[ticket.local] = weakref.ref(ticket)
            ticket.heard = NOT_HEARD
            if ticket.waiters:
                self.hearing.records.look(ticket)

    def watch(self, ticket: Ticket, waiters: tuple[Waiter]) -> None:
        """Tell one more waiter when an open ticket is settled; it comes in a tuple that tickets may share.

        Raises:
            ClientClosed: Nothing will ever settle it.
        """
        if self.hearing.closed:
            raise ClientClosed
        if ticket.waiters:
            ticket.waiters += waiters
        else:
            ticket.waiters = waiters
            self.awaited.add(ticket)
        if ticket.heard != self.hearing.number:
            self.hearing.records.look(ticket)

    def unwatch(self, ticket: Ticket, waiter: Waiter) -> None:
        """Be told no more; harmless where the waiter was told already."""
        if waiter in ticket.waiters:
            ticket.waiters = tuple(other for other in ticket.waiters if other != waiter)
            if not ticket.waiters:
                self.awaited.discard(ticket)

    async def cancel(self, ticket: Ticket) -> bool:
        """End a job; errors as in `RecordReader.cancel`, and `ClientClosed`."""
        if self.hearing.closed:
            raise ClientClosed
        return await self.hearing.records.cancel(ticket)

    async def logs(self, ticket: Ticket) -> list[LogLine]:
        """A job's log; errors as in `RecordReader.logs`, and `ClientClosed`."""
        if self.hearing.closed:
            raise ClientClosed
        return await self.hearing.records.logs(ticket)

    async def status(self, ticket: Ticket) -> JobStatus:
        """All that is known about one job; errors as in `RecordReader.status`, and `ClientClosed`."""
        if self.hearing.closed:
            raise ClientClosed
        return await self.hearing.records.status(ticket)
