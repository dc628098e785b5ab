"""The way of one claimed batch: assembled, run, settled; or given up, where its run was lost.

Rule: nothing is acknowledged before it was processed, and what the processor says about a batch is written
before its outcomes. It never claims, and never decides when the worker leaves: that is the queue agent's.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from microbatch.common.codec import encode
from microbatch.common.keys import QueueKeys
from microbatch.common.scripts import BatchFacts, Outcome
from microbatch.worker.answers import crashed
from microbatch.worker.batch import Batch, BatchReason
from microbatch.worker.executor import BatchLost
from microbatch.worker.flight import Flight
from microbatch.worker.hooks import Hooks
from microbatch.worker.scribe import Scribe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from microbatch.common.jobs.entry import Entry
    from microbatch.common.scripts import Claimed
    from microbatch.worker.agent_parts import AgentParts
    from microbatch.worker.guard import Guard
    from microbatch.worker.pacing import Pacing
    from microbatch.worker.roster import Post
    from microbatch.worker.runner import Runner
    from microbatch.worker.settler import Settler
    from microbatch.worker.switchboard import Switchboard

__all__ = ["Pilot"]

log = logging.getLogger("microbatch.worker")
NIL = encode(None)


class Pilot:
    """Takes the batches of one queue through.

    Args:
        parts: What the agents of a worker share.
        post: The queue, its processors and its settings.
        runner: Runs the processors.
        settler: Writes outcomes.
        guard: Opens what comes in.
        pacing: Is told how long runs take.
    """

    def __init__(
        self,
        parts: AgentParts,
        post: Post,
        runner: Runner | Switchboard,
        settler: Settler,
        guard: Guard,
        pacing: Pacing,
    ) -> None:
        self._parts = parts
        self._queue = post.settings.queue
        self._runner = runner
        self._settler = settler
        self._guard = guard
        self._pacing = pacing
        self._hooks = Hooks(post.processors, parts.hooks)
        self._scribe = Scribe(parts.connection, QueueKeys(self._queue), parts.settings)
        self._begun: dict[str, Sequence[Entry]] = {}
        self._is_grounded = False

    async def fly(self, batch_id: str, claimed: Claimed) -> int:
        """Take a batch from its claim to its end.

        Returns:
            How many of its jobs are of a later version: they are still claimed.
        """
        flight = Flight(self._settler, self._scribe)
        try:
            newer = await self._fly(flight, batch_id, claimed)
        finally:
            flight.notes.stop()
        if not self._hooks.is_empty:
            await flight.tell(self._hooks)
        return newer

    def ground(self) -> None:
        """Let no batch begin any more: what is held goes back to the queue.

        Safe to call from any thread. Ground before you ask which batches have begun: a claim may be answered
        meanwhile.
        """
        self._is_grounded = True

    def has_begun(self, batch_id: str) -> bool:
        """Whether the processor has been given this batch; safe to call from any thread."""
        return batch_id in self._begun

    def landed(self, batch_id: str) -> None:
        """Forget a batch that has ended, in whichever way."""
        self._begun.pop(batch_id, None)

    def cancelled(self, token: str) -> None:
        """A job was cancelled under us, wherever its batch is by now."""
        for entries in self._begun.values():
            for entry in entries:
                if entry.token == token:
                    entry.cancelled = True
                    self._runner.cancelled(token)

    def stop(self) -> None:
        """Call no hook any more."""
        self._hooks.stop()

    async def _fly(self, flight: Flight, batch_id: str, claimed: Claimed) -> int:
        sorted_ = self._guard.assembled(claimed, flight.notes)
        size, started_ms = len(sorted_.jobs), claimed.claimed_ms
        waited_ms = max(0, started_ms - claimed.entries[0].written_ms) if claimed.entries else 0
        facts = BatchFacts(self._parts.worker_id, batch_id, claimed.reason, size, started_ms, waited_ms)
        self._parts.observer.claimed(self._queue, batch_id, claimed, sorted_.entries)
        for entry, fault in sorted_.faulty:
            await self._settler.quarantine(facts, entry, fault)
        outcomes = [Outcome(entry, "expired", NIL) for entry in sorted_.expired]
        if sorted_.jobs:
            self._begun[batch_id] = sorted_.entries
            if self._is_grounded:  # looked at now: whoever grounded us sees it begun, or it never begins
                del self._begun[batch_id]
                await asyncio.Event().wait()  # it goes back; until we are cancelled, or the process ends
            batch = Batch(batch_id, self._queue, cast("BatchReason", claimed.reason), sorted_.jobs)
            try:
                ended = await self._run(facts, batch, sorted_.entries, flight)
                self._pacing.ended(batch_id)
            except BatchLost as lost:
                await flight.notes.flush()  # while these jobs are still ours
                crasher = crashed(lost, sorted_.entries, self._parts.settings.max_crashes)
                if crasher is None:
                    await self._give_up(facts, lost, sorted_.entries)
                    self._parts.observer.ended(self._queue, batch_id, "lost")
                    return 0
                ended = [crasher]
            if ended is None:
                log.warning("queue %s: batch %s was taken over", self._queue, batch_id)
                self._parts.observer.ended(self._queue, batch_id, "taken_over")
                return 0
            outcomes += ended
        if outcomes or not sorted_.newer:
            await flight.settle(facts, outcomes, close=not sorted_.newer)
        log.debug("queue %s: batch %s of %d (%s) settled", self._queue, batch_id, size, claimed.reason)
        return sorted_.newer

    async def _run(
        self, facts: BatchFacts, batch: Batch[Any], entries: Sequence[Entry], flight: Flight
    ) -> list[Outcome] | None:
        """Process a batch, a suspect while nothing else runs; None: it is not ours any more."""
        flight.batch, flight.facts = batch, facts
        early = partial(flight.settle, facts, close=False)
        if not entries[0].is_suspect:
            async with self._parts.isolation.together():
                with self._parts.observer.processing(batch):
                    return await self._runner.run(batch, entries, early)
        async with self._parts.isolation.alone():
            if not await self._settler.run_alone(self._parts.worker_id, batch.id):
                return None
            with self._parts.observer.processing(batch):
                return await self._runner.run(batch, entries, early)

    async def _give_up(self, facts: BatchFacts, lost: BatchLost, entries: Sequence[Entry]) -> None:
        """Let each job that may be to blame for the loss of its run go alone next."""
        is_crash = lost.died and len(entries) == 1
        moved = await self._settler.isolate(facts.worker, facts.batch, is_crash=is_crash)
        self._parts.retirement.given_up += moved
        log.error("queue %s: batch %s was given up, %d jobs: %s", self._queue, facts.batch, moved, lost)
