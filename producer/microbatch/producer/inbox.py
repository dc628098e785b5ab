"""The inbox: results as they arrive, over one pub/sub connection per client.

Rule: a queue's reply channel is subscribed, and confirmed, before the first submit to it or wait on it. A
push is a hint, the record is the truth: after every reconnection, after a message that is not ours, and
on a slow timer the records of the awaited jobs are read.

It never keeps a result that nobody holds a handle for.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from microbatch.common.connection.subscription import Subscription
from microbatch.common.errors import ClientClosed, ProtocolError
from microbatch.common.identifiers import check_queue
from microbatch.common.keys import QueueKeys
from microbatch.common.stopping import stop
from microbatch.producer.fragments import parse_fragments
from microbatch.producer.mailbox import Hearing, Mailbox
from microbatch.producer.newsroom import Newsroom
from microbatch.producer.records import RecordReader
from microbatch.producer.unsealer import open_fragments

if TYPE_CHECKING:
    from microbatch.common.connection import Connection
    from microbatch.common.seals import Seals

__all__ = ["Inbox"]

log = logging.getLogger("microbatch.producer")


class Inbox:
    """All mailboxes of one client.

    Args:
        connection: Where results come from.
        client: The client's id; names its reply channels.
        poll_interval_s: How often the records of awaited jobs are read although a push should have come.
        seals: Open results; None: they are not sealed.

    Attributes:
        records: Reads records.
        newsroom: Hears what happens to jobs while it happens.
    """

    def __init__(
        self, connection: Connection, client: str, *, poll_interval_s: float, seals: Seals | None = None
    ) -> None:
        self._client = client
        self._timeout_s = connection.endpoint.command_timeout_s
        self._subscription = Subscription(connection, self._arrived, self._connected)
        self._seals = seals
        self.records = RecordReader(connection, client, self.listen, poll_interval_s, seals)
        self.newsroom = Newsroom(connection)
        self._hearing = Hearing(self.records, self.newsroom)
        self._mailboxes: dict[str, Mailbox] = {}
        self._by_channel: dict[bytes, Mailbox] = {}
        self._warned = False
        self._poll: asyncio.Task[None] | None = None

    def mailbox(self, queue: str) -> Mailbox:
        """The mailbox of a queue.

        Raises:
            ValueError: Not a valid name.
            ClientClosed: The client is closed.
        """
        if self._hearing.closed:
            raise ClientClosed
        mailbox = self._mailboxes.get(queue)
        if mailbox is None:
            mailbox = Mailbox(QueueKeys(check_queue(queue)), self._hearing)
            self._mailboxes[queue] = mailbox
            self._by_channel[mailbox.keys.reply_channel(self._client).encode()] = mailbox
        return mailbox

    async def listen(self, mailbox: Mailbox) -> None:
        """Return once the results of this queue are heard.

        Raises:
            ConnectionFailed: Redis did not confirm in time.
        """
        if mailbox.listening:
            return
        if self._poll is None:
            polling = self.records.poll(lambda: list(self._mailboxes.values()))
            self._poll = asyncio.create_task(polling, name="microbatch-poll")
        await self._subscription.add(mailbox.keys.reply_channel(self._client), timeout_s=self._timeout_s)
        mailbox.listening = True

    async def close(self) -> None:
        """Stop listening; whoever still waits gets `ClientClosed`."""
        self._hearing.closed = True
        for mailbox in self._mailboxes.values():
            for ticket in list(mailbox.awaited):
                ticket.tell(ClientClosed())
        await self.newsroom.close()
        # The subscription first: a reconnection would ask for looks that nobody stops any more.
        await self._subscription.close()
        if self._poll is not None:
            await stop(self._poll)
        await self.records.close()

    def _arrived(self, channel: bytes, message: bytes) -> None:
        mailbox = self._by_channel.get(channel)
        if mailbox is None:
            return
        try:
            fragments = parse_fragments(message, sealed=self._seals is not None)
            if self._seals is not None:
                open_fragments(self._seals, mailbox.keys.queue, fragments)
        except ProtocolError as error:
            if not self._warned:
                self._warned = True
                log.warning("ignored what is not ours on %s: %s (said once)", channel.decode(), error)
            self._look_again(mailbox)
            return
        mailbox.deliver(fragments)

    def _connected(self) -> None:
        self._hearing.number += 1
        for mailbox in self._mailboxes.values():
            self._look_again(mailbox)

    def _look_again(self, mailbox: Mailbox) -> None:
        for ticket in mailbox.awaited:
            self.records.look(ticket)

    def __repr__(self) -> str:
        awaited = sum(len(mailbox.awaited) for mailbox in self._mailboxes.values())
        return f"<Inbox of {self._client}: {len(self._mailboxes)} queues, {awaited} awaited>"
