"""Write outcomes to Redis, however long Redis stays away.

Rule: an outcome is repeated until Redis has answered: the work is done, and only here is it known. A
script call that was executed although its reply was lost answers `replay`, which is a success. Outcomes
that come too late (the job moved on, or is final) are dropped and counted, never forced.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from microbatch.common.connection import Connection, backoff_s
from microbatch.common.connection.patience import is_out_of_reach
from microbatch.common.errors import MicrobatchError
from microbatch.common.scripts import (
    BatchFacts,
    Call,
    Fault,
    Outcome,
    Released,
    SettleCode,
    quarantine,
    release,
    run_alone,
    settle,
)
from microbatch.worker.observer import NO_OBSERVER, Observer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from microbatch.common.jobs.entry import Entry
    from microbatch.common.keys import QueueKeys
    from microbatch.common.settings import WorkerSettings

__all__ = ["Settler"]

T = TypeVar("T")
Judge = Callable[[Sequence[Outcome], int], Sequence[Outcome]]
log = logging.getLogger("microbatch.worker")
CHUNK_JOBS = 256
CHUNK_BYTES = 1 << 20
REFUSED_PAUSE_S = 1.0
_COUNT = frozenset({SettleCode.WRITTEN, SettleCode.REPLAY, SettleCode.WRONG_TYPE})


class Settler:
    """Settles, quarantines and hands back for one queue.

    Args:
        connection: Where to.
        keys: The queue's keys.
        settings: The worker's.
        ttl_ms: How long results are kept where the job says nothing.
        judge: Says which failures are repeated instead, given the time at which their batch began.
        observer: Who is told.
    """

    def __init__(
        self,
        connection: Connection,
        keys: QueueKeys,
        settings: WorkerSettings,
        ttl_ms: int,
        judge: Judge,
        observer: Observer = NO_OBSERVER,
    ) -> None:
        self._observer = observer
        self._connection = connection
        self._judge = judge
        self._keys = keys
        self._settings = settings
        self._ttl_ms = ttl_ms
        self.seal: Callable[[Sequence[Outcome]], Sequence[Outcome]] = lambda outcomes: outcomes
        self.next_offer: Callable[[], tuple[str, str] | None] = lambda: None
        self.dropped = 0
        self.retries_due_s = 0.0  # when the last retry that was written here is due, by the monotonic clock

    async def settle(self, facts: BatchFacts, outcomes: Sequence[Outcome], *, close: bool) -> list[Outcome]:
        """Write the outcomes of a batch; `close` where nothing of the batch is left afterwards.

        Returns:
            Those that count, as they were judged: not those that came too late.
        """
        written: list[Outcome] = []
        judged = self._judge(outcomes, facts.started_ms)
        chunks = list(_chunks(judged))
        for index, chunk in enumerate(chunks):
            last = close and index == len(chunks) - 1
            call = settle(
                self._keys,
                facts,
                self.seal(chunk),
                ttl_ms=self._ttl_ms,
                dead_max_length=self._settings.dead_max_length,
                close=last,
                offer=self.next_offer() if last else None,
            )
            codes = await self._insist(call)
            self._observer.settled(self._keys.queue, facts.batch, chunk, codes)
            if codes is None:
                written += chunk
            else:
                self._note(facts, chunk, codes)
                written += [outcome for outcome, code in zip(chunk, codes, strict=True) if code in _COUNT]
        delays_ms = [outcome.delay_ms for outcome in judged if outcome.state == "retry"]
        if delays_ms:  # counted from now, when Redis has begun to count
            self.retries_due_s = max(self.retries_due_s, time.monotonic() + (max(delays_ms) + 1) / 1000)
        return written

    async def quarantine(self, facts: BatchFacts, entry: Entry, fault: Fault) -> None:
        """Move an entry that nothing can process to the dead stream."""
        log.warning("queue %s: quarantined entry %s: %s", self._keys.queue, entry.token, fault.message)
        await self._insist(
            quarantine(
                self._keys,
                (facts.worker, facts.batch),
                entry,
                fault,
                ttl_ms=self._ttl_ms,
                dead_max_length=self._settings.dead_max_length,
            )
        )
        self._observer.quarantined(self._keys.queue)

    async def run_alone(self, worker: str, batch_id: str) -> bool:
        """Say that nothing but this batch runs here from now on; False: it is not ours any more."""
        return await self._insist(run_alone(self._keys, worker, batch_id))

    async def hand_back(self, worker: str, batch_id: str, *, ran: bool) -> int:
        """Hand what is left of a batch back to its queue; returns how many jobs went."""
        return await self._release(release(self._keys, worker, batch_id, ran=ran))

    async def isolate(self, worker: str, batch_id: str, *, is_crash: bool) -> int:
        """Let the jobs of a batch that was lost run alone next; returns how many went.

        `is_crash`: it was one job, and its process died: that counts against it.
        """
        call = release(self._keys, worker, batch_id, ran=True, lane="solo", is_crash=is_crash)
        return await self._release(call)

    async def _release(self, call: Call[Released]) -> int:
        moved = 0
        while True:  # a call moves a bounded number
            released = await self._insist(call)
            moved += released.moved
            if not released.left:
                self._observer.handed_back(self._keys.queue, moved)
                return moved

    async def _insist(self, call: Call[T]) -> T:
        failures = 0
        while True:
            try:
                return await self._connection.run(call)
            except MicrobatchError as error:
                self._observer.redis_failed(self._keys.queue, call.script.name)
                if is_out_of_reach(error):
                    pause_s = backoff_s(failures)
                    log.warning(
                        "queue %s: %s is waiting for Redis: %s", self._keys.queue, call.script.name, error
                    )
                else:
                    # Such as a right that was revoked: keep the outcomes and say it, until somebody mends it.
                    pause_s = REFUSED_PAUSE_S
                    log.error("queue %s: %s was refused: %s", self._keys.queue, call.script.name, error)
            failures += 1
            await asyncio.sleep(pause_s)

    def _note(self, facts: BatchFacts, outcomes: Sequence[Outcome], codes: Sequence[SettleCode]) -> None:
        for outcome, code in zip(outcomes, codes, strict=True):
            if code in {SettleCode.FINAL, SettleCode.MOVED}:
                self.dropped += 1
                log.log(
                    logging.DEBUG if outcome.entry.cancelled else logging.WARNING,
                    "queue %s: a late result of job %s (batch %s) was dropped: %s",
                    self._keys.queue,
                    outcome.entry.local,
                    facts.batch,
                    "it is final" if code is SettleCode.FINAL else "it moved to another worker",
                )
            elif code is SettleCode.WRONG_TYPE:
                log.error(
                    "queue %s: the record of job %s is not a hash", self._keys.queue, outcome.entry.local
                )


def _chunks(outcomes: Sequence[Outcome]) -> Iterator[Sequence[Outcome]]:
    """At most 256 jobs or 1 MiB a call, so that no call holds the server up; at least one, to close."""
    if not outcomes:
        yield outcomes
    start, size = 0, 0
    for index, outcome in enumerate(outcomes):
        if index > start and (index - start >= CHUNK_JOBS or size + len(outcome.value) > CHUNK_BYTES):
            yield outcomes[start:index]
            start, size = index, 0
        size += len(outcome.value)
    if start < len(outcomes):
        yield outcomes[start:]
