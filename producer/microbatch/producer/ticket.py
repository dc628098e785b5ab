"""The ticket: what this client knows about one job, behind every handle of it.

Rule: a ticket is settled once and never changes after that; settling it tells every waiter once. Whoever
holds a handle holds the ticket; the mailbox knows it only weakly, so that a job that nobody asks for
costs nothing.

It never does I/O and never decides whether to read a record: `inbox.py` and `records.py` do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from microbatch.common.errors import JobCancelled, JobExpired, JobFailed, MicrobatchError, ProtocolError
from microbatch.common.identifiers import job_id
from microbatch.common.jobs.happenings import parse_error
from microbatch.common.jobs.states import JobState

if TYPE_CHECKING:
    from microbatch.producer.mailbox import Mailbox

__all__ = ["NOT_HEARD", "NOT_REGISTERED", "Ticket", "Waiter"]

NOT_REGISTERED = -1
"""`Ticket.heard` of a job that another client submitted: nothing is pushed to us until we ask for it."""

NOT_HEARD = -2
"""`Ticket.heard` of a job whose result was announced but not sent: only its record has it."""


class Ticket:
    """One job as this client sees it.

    Attributes:
        mailbox: Where its queue's results arrive.
        local: The second half of the job's id.
        state: Its final state; None while that is not known here.
        value: The decoded result or error, or the `ProtocolError` of one that cannot be decoded.
        waiters: Who wants to be told; a tuple, so that many tickets with the same waiter share one.
        heard: The subscription (by number) that would have brought its push; with any other than the present
            one a push may have been missed, and the record must be read.
        missed_s: When a look first found no record, by the loop's clock; None: none did.
    """

    __slots__ = ("__weakref__", "heard", "local", "mailbox", "missed_s", "state", "value", "waiters")

    def __init__(self, mailbox: Mailbox, local: str, heard: int) -> None:
        self.mailbox = mailbox
        self.local = local
        self.heard = heard
        self.state: str | None = None
        self.value: Any = None
        self.waiters: tuple[Waiter, ...] = ()
        self.missed_s: float | None = None

    @property
    def id(self) -> str:
        """The full id, `queue/local`."""
        return job_id(self.mailbox.keys.queue, self.local)

    def settle(self, state: str, value: Any) -> None:
        """Take note of the final outcome; a second one changes nothing."""
        if self.state is not None:
            return
        self.value = value  # before the state: other threads read the value when they see the state
        self.state = state
        if self.waiters:
            self.tell(None)

    def tell(self, error: MicrobatchError | None) -> None:
        """Tell every waiter, once: the ticket is settled, or `error` ends the waiting."""
        waiters, self.waiters = self.waiters, ()
        self.mailbox.awaited.discard(self)
        for waiter in waiters:
            waiter(self, error)

    def outcome(self) -> Any:
        """The result of a settled ticket.

        Raises:
            JobFailed: The job failed.
            JobCancelled: The job was cancelled.
            JobExpired: The job was not started by its deadline.
            ProtocolError: The outcome cannot be decoded.
        """
        if isinstance(self.value, ProtocolError):
            raise ProtocolError(f"job {self.id}: {self.value}")
        if self.state == JobState.SUCCEEDED:
            return self.value
        if self.state == JobState.CANCELLED:
            raise JobCancelled(self.id)
        if self.state == JobState.EXPIRED:
            raise JobExpired(self.id)
        facts = parse_error(self.value)
        raise JobFailed(
            self.id, error_type=facts.type, error_message=facts.message, error_traceback=facts.traceback
        )

    def __del__(self) -> None:
        # A weak reference with a callback, or a WeakValueDictionary, would cost twice as much per job.
        if self.state is None:
            self.mailbox.forget(self)


Waiter = Callable[[Ticket, MicrobatchError | None], None]
"""Called on the loop, once, when a ticket is settled or an error ends the waiting; must not raise."""
