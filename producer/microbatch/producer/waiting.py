"""Waiting: for one ticket, or for many at once.

Rule: every wait takes itself back however it ends, so that a cancelled one leaves nothing behind and
never hurts another; many tickets share one waiter, so that a hundred thousand of them need no hundred
thousand tasks.

It never reads a record or a message: tickets are settled by others.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Self

from microbatch.common.clock import Deadline, SystemClock
from microbatch.common.errors import ClientClosed, ResultTimeout

if TYPE_CHECKING:
    from collections.abc import Iterable

    from microbatch.common.errors import MicrobatchError
    from microbatch.producer.ticket import Ticket

__all__ = ["Harvest", "wait_for"]


async def wait_for(ticket: Ticket, timeout_s: float | None) -> None:
    """Return once an open ticket is settled.

    Raises:
        ResultTimeout: It was not within `timeout_s`.
        MicrobatchError: Whatever ended the waiting, such as `ResultNotFound` or `ClientClosed`.
    """
    loop = asyncio.get_running_loop()
    # The error is the future's result: one that nobody picks up any more is no "never retrieved" warning.
    told: asyncio.Future[MicrobatchError | None] = loop.create_future()

    def tell(_: Ticket | None, error: MicrobatchError | None) -> None:
        if not told.done():
            told.set_result(error)

    timer = None
    mailbox = ticket.mailbox
    mailbox.watch(ticket, (tell,))
    try:
        if timeout_s is not None:
            timer = loop.call_later(timeout_s, tell, None, ResultTimeout(ticket.id, timeout_s))
        error = await told
    finally:
        mailbox.unwatch(ticket, tell)
        if timer is not None:
            timer.cancel()
    if error is not None:
        try:
            raise error
        finally:
            del error, told  # its traceback holds this frame: together they would wait for the collector


class Harvest:
    """Tickets as they are settled, several at a time.

    Args:
        tickets: Which; each is given once.
        timeout_s: How long to wait for all of them together, in seconds; None: without end.
        deadline: The same as a moment, where the time began to run before; None: it begins now.
    """

    def __init__(
        self, tickets: Iterable[Ticket], timeout_s: float | None, deadline: Deadline | None = None
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._open = dict.fromkeys(tickets)
        self._timeout_s = timeout_s
        self._deadline = deadline or Deadline.after(timeout_s, SystemClock())
        self._ready: deque[tuple[Ticket, MicrobatchError | None]] = deque()
        self._closed = False
        self._bell: asyncio.Future[None] | None = None

    async def __aenter__(self) -> Self:
        try:
            tell = (self._tell,)
            for ticket in self._open:
                if ticket.state is None:
                    ticket.mailbox.watch(ticket, tell)
                else:
                    self._ready.append((ticket, None))
        except ClientClosed:
            self.stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Wait for nothing any more."""
        for ticket in self._open:
            ticket.mailbox.unwatch(ticket, self._tell)
        self._open.clear()

    async def next_batch(self) -> list[tuple[Ticket, MicrobatchError | None]]:
        """The tickets that were settled since the last call, at least one; empty at the end.

        A ticket comes with an error where the waiting for it ended although it is not settled.

        Raises:
            ResultTimeout: The time is over and some are not settled.
            ClientClosed: The client was closed.
        """
        if not self._open:
            return []
        try:
            async with asyncio.timeout(self._deadline.left_s()):
                while not self._ready and not self._closed:
                    self._bell = self._loop.create_future()
                    await self._bell
        except TimeoutError:
            raise ResultTimeout(None, self._timeout_s or 0.0, missing=len(self._open)) from None
        finally:
            self._bell = None
        if self._closed:
            raise ClientClosed
        batch = list(self._ready)
        self._ready.clear()
        for ticket, _ in batch:
            del self._open[ticket]
        return batch

    def _tell(self, ticket: Ticket, error: MicrobatchError | None) -> None:
        if isinstance(error, ClientClosed):
            self._closed = True
        else:
            self._ready.append((ticket, error))
        if self._bell is not None and not self._bell.done():
            self._bell.set_result(None)
