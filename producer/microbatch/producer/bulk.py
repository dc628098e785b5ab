"""Bulk: many jobs in few round trips.

Rule: payloads are taken from their iterable chunk by chunk; while a chunk is in the air, the next one is
encoded. One future serves a whole chunk. Where the queue is full, the error carries every job that was
accepted, in order.

It never sends a later chunk once one was refused for good.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import TYPE_CHECKING, Any

from microbatch.common.errors import MicrobatchError, NotReplicated, QueueFull, SubmitTimeout
from microbatch.common.identifiers import local_ids
from microbatch.common.scripts import NewJob, SubmitCode
from microbatch.producer.refusals import doubt, own_copy, pause_s, refusal
from microbatch.producer.submitter import FLIGHT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from microbatch.producer.admission import Admission
    from microbatch.producer.gate import Gate
    from microbatch.producer.options import Terms
    from microbatch.producer.submitter import Landing
    from microbatch.producer.ticket import Ticket

__all__ = ["BulkSubmit"]

AHEAD = 3
"""Chunks in the air: enough to keep the server busy while the next one is encoded."""

_ACCEPTED = (SubmitCode.NEW, SubmitCode.SAME)


class _Chunk:
    """Jobs that travel together; `refused`: the indexes that found no room, None while in the air."""

    __slots__ = ("jobs", "landed", "reached", "refused", "size_bytes", "tickets")

    def __init__(self) -> None:
        self.jobs: list[NewJob] = []
        self.tickets: list[Ticket] = []
        self.size_bytes = 0
        self.landed: asyncio.Future[Landing] | None = None
        self.refused: list[int] | None = None
        self.reached: int | None = None  # how many replicas have them, where that is too few

    def accepted(self) -> list[Ticket]:
        if not self.refused:
            return [] if self.refused is None else self.tickets
        without = set(self.refused)
        return [ticket for index, ticket in enumerate(self.tickets) if index not in without]


class BulkSubmit:
    """One call of `submit_many`.

    Args:
        admission: Who opens the queue's gate.
        queue: The queue's name.
        payloads: Any iterable; consumed as far as jobs are sent.
        terms: What the jobs have in common.

    Raises:
        ValueError: A unique key, which only one of them could have.
    """

    def __init__(self, admission: Admission, queue: str, payloads: Iterable[Any], terms: Terms) -> None:
        if terms.options is not None and terms.options.unique:
            raise ValueError("unique_key is for a single job: submit them one by one")
        self._admission = admission
        self._queue = queue
        self._payloads = payloads
        self._terms = terms
        self._chunks: list[_Chunk] = []
        self._in_air: deque[_Chunk] = deque()
        self._full: QueueFull | None = None  # while waiting for room
        self._in_doubt = False  # whether an attempt got no answer
        self._ends_s: float | None = None

    async def run(self) -> list[Ticket]:
        """Admit all jobs.

        Raises:
            QueueFull: Some found no room (with `on_full="wait"`: until the time was over).
            SubmitTimeout: No answer in time.
            NotReplicated: Too few replicas have some of them.
            PayloadError: A payload cannot travel; nothing of its chunk and after it was sent.
            MicrobatchError: Redis did not answer, or not as it should.
        """
        timeout_s = self._terms.timeout_s
        self._ends_s = None if timeout_s is None else asyncio.get_running_loop().time() + timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                await self._send_all(await self._admission.gate(self._queue))
        except TimeoutError:
            # Queue full is an answer only where all answers are known.
            if self._full is not None and self._rest_is_known() and not self._in_doubt:
                raise self._full from None
            raise SubmitTimeout(self._queue, timeout_s or 0.0) from None
        except Exception as error:
            if isinstance(error, QueueFull | NotReplicated):
                raise
            await self._land_rest()  # or the count would leave out what is in the air
            accepted = len(self.accepted())
            if accepted:
                error.add_note(f"{accepted} jobs before it were accepted")
            raise
        finally:
            for chunk in self._in_air:  # takes back those that have not left
                if chunk.landed is not None:
                    chunk.landed.cancel()
        return [ticket for chunk in self._chunks for ticket in chunk.tickets]

    def accepted(self) -> list[Ticket]:
        """What was accepted so far, in order."""
        return [ticket for chunk in self._chunks for ticket in chunk.accepted()]

    async def _send_all(self, gate: Gate) -> None:
        for chunk in self._encoded(gate):
            self._chunks.append(chunk)
            self._in_air.append(chunk)
            chunk.landed = gate.submitter_for(self._terms).send(chunk.jobs, chunk.size_bytes, self._ends_s)
            await asyncio.sleep(0)  # lets it leave before the next one is encoded
            while len(self._in_air) >= AHEAD:
                await self._land(gate)
        while self._in_air:
            await self._land(gate)

    def _encoded(self, gate: Gate) -> Iterator[_Chunk]:
        new_job, own, options = gate.new_job, gate.mailbox.own, gate.options(self._terms)
        chunk = _Chunk()
        for local, payload in zip(local_ids(), self._payloads, strict=False):
            job = new_job(local, payload, options)
            size_bytes = len(job.payload) + len(options)
            if len(chunk.jobs) == FLIGHT.jobs or (
                chunk.jobs and chunk.size_bytes + size_bytes > FLIGHT.size_bytes
            ):
                yield chunk
                chunk = _Chunk()
            chunk.jobs.append(job)
            chunk.tickets.append(own(job.local))
            chunk.size_bytes += size_bytes
        if chunk.jobs:
            yield chunk

    async def _land(self, gate: Gate) -> None:
        """Wait for the oldest chunk, and send again what found no room if that is wanted."""
        chunk = self._in_air[0]
        assert chunk.landed is not None  # noqa: S101 - it is in the air
        while full := self._judge_next(chunk, await chunk.landed):
            if not self._terms.wait:
                self._in_air.popleft()
                await self._land_rest()
                try:
                    raise doubt(full) if self._in_doubt else full
                finally:
                    del full  # as in `wait_for`
            self._full = full
            await asyncio.sleep(pause_s(full))
            self._full = None
            again = [chunk.jobs[index] for index in chunk.refused or ()]
            size_bytes = sum(len(job.payload) for job in again)
            chunk.landed = gate.submitter_for(self._terms).send(again, size_bytes, self._ends_s)
        self._in_air.popleft()
        chunk.jobs = []  # their payloads are not needed any more
        if chunk.reached is not None:
            await self._land_rest()
            raise NotReplicated(None, wanted=gate.replicated.replicas, reached=chunk.reached)

    def _judge_next(self, chunk: _Chunk, landing: Landing) -> QueueFull | None:
        try:
            return self._judge(chunk, landing)
        except MicrobatchError:
            self._in_air.popleft()  # judged: whoever lands the rest must not judge it again
            raise

    async def _land_rest(self) -> None:
        """Wait for what is still in the air: the caller must hear of every job that was accepted."""
        while self._in_air:
            chunk = self._in_air[0]
            landing = None if chunk.landed is None else await chunk.landed
            self._in_air.popleft()  # judged once
            if chunk.landed is not None:
                with contextlib.suppress(MicrobatchError):  # one error is enough: the queue is full
                    self._judge(chunk, landing)

    def _rest_is_known(self) -> bool:
        for chunk in list(self._in_air)[1:]:
            if chunk.landed is None or not chunk.landed.done():
                return False
            with contextlib.suppress(MicrobatchError):
                self._judge(chunk, chunk.landed.result())
        return True

    def _judge(self, chunk: _Chunk, landing: Landing) -> QueueFull | None:
        """Note which jobs of a chunk were accepted; the error of those that found no room, or None."""
        if isinstance(landing, Exception):
            raise own_copy(landing)
        sent = range(len(chunk.tickets)) if chunk.refused is None else chunk.refused
        if landing is None:
            chunk.refused = []
            return None
        if landing.reached is not None:
            chunk.reached = landing.reached
        self._in_doubt = self._in_doubt or landing.in_doubt
        chunk.refused = [
            index for index, code in zip(sent, landing.codes, strict=True) if code not in _ACCEPTED
        ]
        for index, code in zip(sent, landing.codes, strict=True):
            if code not in (*_ACCEPTED, SubmitCode.FULL):
                refused = refusal(chunk.tickets[index].id, code, self._admission.patience_s(self._terms))
                raise doubt(refused) if self._in_doubt else refused
        if not chunk.refused:
            return None
        return QueueFull(self._queue, retry_after_s=landing.retry_after_s)
