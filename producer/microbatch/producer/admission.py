"""Admission: from payloads to accepted jobs; what is refused, repeated or given up.

Rule: a submit returns only once Redis has accepted the job; `timeout_s` bounds the whole of it. A job is
encoded once and keeps its id through every repetition, so that repeating it can never add it twice. Where
the time is over while a job is in the air, nobody knows whether it was accepted, and the error says so.

It never waits for results.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from microbatch.common.errors import (
    ClientClosed,
    MicrobatchError,
    NotReplicated,
    QueueFull,
    SubmitTimeout,
)
from microbatch.common.identifiers import check_local_id, local_ids
from microbatch.common.register import Register
from microbatch.common.scripts import JobOptions, SubmitCode
from microbatch.common.stopping import stop
from microbatch.producer.gate import Gate
from microbatch.producer.options import Caps, SubmitOptions, Terms, terms_of, ttl_ms_of
from microbatch.producer.refusals import doubt, own_copy, pause_s, refusal
from microbatch.producer.server_clock import ServerClock
from microbatch.producer.submitter import Submitter
from microbatch.producer.ticket import NOT_REGISTERED, Ticket

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from microbatch.common.connection import Connection
    from microbatch.common.seals import Seals
    from microbatch.common.settings import ClientSettings
    from microbatch.producer.inbox import Inbox
    from microbatch.producer.mailbox import Mailbox
    from microbatch.producer.submitter import Mixed

__all__ = ["Admission"]

CLOCK_S = 0.001
"""Redis's clock, as it is told here, has no less."""

_ACCEPTED = (SubmitCode.NEW, SubmitCode.SAME, SubmitCode.TAKEN)


class Admission:
    """Admits the jobs of one client.

    Args:
        connection: Where to.
        client: The client's id.
        inbox: Where the results will arrive.
        settings: The client's settings.
        seals: Seal payloads; None: they go as they are.
    """

    def __init__(
        self,
        connection: Connection,
        client: str,
        inbox: Inbox,
        settings: ClientSettings,
        seals: Seals | None = None,
    ) -> None:
        self._connection = connection
        self._register = Register(connection)
        self._client = client
        self._inbox = inbox
        self._settings = settings
        self._seals = seals
        self._ids = local_ids()
        self._gates: dict[str, Gate] = {}
        self._opening: dict[str, asyncio.Task[Gate]] = {}
        self._closed = False

    def terms(self, options: SubmitOptions) -> Terms:
        """Check and encode options.

        Raises:
            ValueError: An unknown `on_full`, or a number that cannot be.
            TypeError: An option that does not exist.
            PayloadError: Headers that cannot travel.
        """
        return terms_of(options, max_headers_bytes=self._settings.max_payload_bytes)

    async def gate(self, queue: str) -> Gate:
        """The open gate of a queue; its results are heard from here on.

        Raises:
            ConnectionFailed: Redis did not answer in time.
            ClientClosed: The client is closed.
        """
        if self._closed:
            raise ClientClosed
        gate = self._gates.get(queue)
        if gate is not None:
            return gate
        opening = self._opening.get(queue)
        if opening is None:
            mailbox = self._inbox.mailbox(queue)
            opening = self._opening[queue] = asyncio.create_task(self._open(mailbox), name="microbatch-gate")
            opening.add_done_callback(lambda task: self._opened(queue, task))
        await asyncio.wait((opening,))  # not awaited itself: others wait for it as well
        if opening.cancelled():
            raise ClientClosed
        error = opening.exception()
        if isinstance(error, Exception):
            raise own_copy(error)
        return opening.result()

    def submit(self, queue: str, payload: Any, job_id: str | None, terms: Terms) -> Awaitable[Ticket]:
        """Admit one job.

        Raises:
            SubmitError: It was not accepted (`QueueFull`, `DuplicateJobId`, `SubmitTimeout`, `PayloadError`).
            MicrobatchError: Redis did not answer, or not as it should.
        """
        if terms.timeout_s is None:
            return self._submit(queue, payload, job_id, terms, _Course())
        return self._submit_in_time(queue, payload, job_id, terms)

    async def _submit_in_time(self, queue: str, payload: Any, job_id: str | None, terms: Terms) -> Ticket:
        course = _Course(asyncio.get_running_loop().time() + (terms.timeout_s or 0.0))
        try:
            async with asyncio.timeout(terms.timeout_s):
                return await self._submit(queue, payload, job_id, terms, course)
        except TimeoutError:
            raise course.full or SubmitTimeout(queue, terms.timeout_s or 0.0) from None

    def patience_s(self, terms: Terms) -> float:
        """How long a caller waits for an answer."""
        return self._settings.command_timeout_s if terms.timeout_s is None else terms.timeout_s

    async def close(self, timeout_s: float) -> None:
        """Accept nothing more, and let what was handed over land, for at most that long."""
        self._closed = True
        await stop(*self._opening.values())
        await self._register.close()
        gates = self._gates.values()
        submitters = [submitter for gate in gates for submitter in (gate.submitter, gate.replicated)]
        await asyncio.gather(*(submitter.close(timeout_s) for submitter in submitters))

    async def _open(self, mailbox: Mailbox) -> Gate:
        queue, settings = mailbox.keys.queue, self._settings
        await self._inbox.listen(mailbox)
        await self._register.enter(queue)
        clock = ServerClock(self._connection, mailbox.keys)
        submitter, replicated = (
            Submitter(
                self._connection,
                clock,
                mailbox.keys,
                self._client,
                max_queue_length=settings.max_queue_length_for(queue),
                replicas=replicas,
            )
            for replicas in (0, settings.replicas)
        )
        await clock.refresh()
        defaults = JobOptions(ttl_ms=ttl_ms_of(settings.result_ttl_s_for(queue)))
        caps = Caps(settings.max_batch_keys_for(queue), settings.max_job_cost_for(queue))
        limit_bytes = settings.max_payload_bytes
        return Gate(mailbox, submitter, replicated, defaults, limit_bytes, caps, self._seals)

    def _opened(self, queue: str, opening: asyncio.Task[Gate]) -> None:
        del self._opening[queue]
        if not opening.cancelled() and opening.exception() is None:
            self._gates[queue] = opening.result()

    async def _submit(
        self, queue: str, payload: Any, job_id: str | None, terms: Terms, course: _Course
    ) -> Ticket:
        local = next(self._ids) if job_id is None else check_local_id(job_id)
        gate = self._gates.get(queue) or await self.gate(queue)
        if self._closed:
            raise ClientClosed
        job = gate.new_job(local, payload, gate.options(terms), is_named=job_id is not None)
        known = gate.mailbox.open_ticket(local)
        ticket = known or gate.mailbox.own(local)
        submitter = gate.submitter_for(terms)
        while True:
            landing = await submitter.send((job,), len(job.payload) + len(job.options), course.ends_s)
            if landing is None:
                return ticket
            if isinstance(landing, Exception):
                raise own_copy(landing)
            code = landing.codes[0]
            course.note(landing)
            if code is SubmitCode.TAKEN and course.in_doubt:
                await course.clear()
                continue
            if code in _ACCEPTED:
                ticket = _accepted(gate.mailbox, landing, ticket, known)
                if landing.reached is not None:
                    raise NotReplicated(ticket.id, wanted=submitter.replicas, reached=landing.reached)
                return ticket
            if code is not SubmitCode.FULL:
                raise course.told(refusal(ticket.id, code, self.patience_s(terms)))
            if not terms.wait:
                raise course.told(QueueFull(queue, retry_after_s=landing.retry_after_s))
            await course.pause(QueueFull(queue, retry_after_s=landing.retry_after_s))


class _Course:
    """How a submit fares: `full` while it waits for room and is known not to be accepted, else None.

    `ends_s`: when its caller gives up, by the loop's clock. `in_doubt`: whether an attempt got no answer.
    """

    def __init__(self, ends_s: float | None = None) -> None:
        self.full: QueueFull | None = None
        self.ends_s = ends_s
        self.in_doubt = False
        self._open_until_s = 0.0

    def note(self, landing: Mixed) -> None:
        """Take in what came back."""
        self.in_doubt = self.in_doubt or landing.in_doubt
        self._open_until_s = max(self._open_until_s, landing.ends_s)

    async def clear(self) -> None:
        """Wait until nothing that was sent can be accepted any more.

        Whoever is told to take another job for his own must have none: that one may end, and free the key,
        before an attempt arrives that was lost on its way.
        """
        self.full = None
        await asyncio.sleep(self._open_until_s - asyncio.get_running_loop().time() + CLOCK_S)
        self.in_doubt = False

    def told(self, refused: MicrobatchError) -> MicrobatchError:
        """What to tell of a refusal."""
        return doubt(refused) if self.in_doubt else refused

    async def pause(self, full: QueueFull) -> None:
        self.full = None if self.in_doubt else full
        await asyncio.sleep(pause_s(full))
        self.full = None


def _accepted(mailbox: Mailbox, landing: Mixed, ticket: Ticket, known: Ticket | None) -> Ticket:
    if landing.firsts:  # another job has the unique key
        return mailbox.foreign(landing.firsts[0])
    if landing.codes[0] is SubmitCode.SAME and known is None:
        # The first submit of this job may have been another client's: then nothing is pushed to us.
        ticket.heard = NOT_REGISTERED
    return ticket
