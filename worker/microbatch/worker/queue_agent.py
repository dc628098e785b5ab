"""One queue in one worker process: its claim loop, its batches in flight, its processors.

Rule: a claimed batch ends here in exactly one of three ways: settled, handed back, or (when this process
dies) taken over by another worker. How a batch gets from its claim to its end is the pilot's.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from microbatch.common.keys import QueueKeys
from microbatch.common.scripts import CANCEL_MESSAGE, HANDED_MESSAGE, join, queue_status
from microbatch.worker.bell import Bell
from microbatch.worker.claimer import Claimer
from microbatch.worker.guard import Guard
from microbatch.worker.ledger import Ledger
from microbatch.worker.pacing import pacing_for
from microbatch.worker.pilot import Pilot
from microbatch.worker.retries import full_jitter_s, judged
from microbatch.worker.settler import Settler
from microbatch.worker.switchboard import runner_of
from microbatch.worker.ticker import Ticker

if TYPE_CHECKING:
    from microbatch.common.scripts import Claimed
    from microbatch.worker.agent_parts import AgentParts
    from microbatch.worker.observer import BatchEnd
    from microbatch.worker.roster import Post

__all__ = ["QueueAgent"]

log = logging.getLogger("microbatch.worker")
CANCEL_GRACE_S = 1.0
NEWER_PAUSE_S = 1.0


class QueueAgent:
    """A queue's share of a worker."""

    def __init__(self, parts: AgentParts, post: Post) -> None:
        settings = post.settings
        self.keys = QueueKeys(settings.queue)
        self.settings = settings
        self.runner = runner_of(post.processors, settings, parts.retirement.stuck)
        self.bell = Bell()
        self.pacing = pacing_for(parts.connection, self.keys, settings)
        self.ledger = Ledger(settings.concurrency, self.bell.ring, parts.isolation, self.pacing.most)
        parts.isolation.on_change(self.bell.ring)  # who is idle beside a suspect steps aside
        self.claimer = Claimer(
            parts.connection, parts.worker_id, self.pacing, self.ledger, self.bell, self._begin
        )
        self.claimer.observer = parts.observer
        self._parts = parts
        rules = self.runner.rules
        guard = Guard(settings.queue, parts.settings)
        self._settler = Settler(
            parts.connection,
            self.keys,
            parts.settings,
            round(settings.result_ttl_s * 1000),
            lambda outcomes, now_ms: judged(outcomes, rules, settings, now_ms=now_ms, spread=full_jitter_s),
            parts.observer,
        )
        self._settler.seal = guard.sealed
        self._settler.next_offer = self.claimer.next_offer
        self._pilot = Pilot(parts, post, self.runner, self._settler, guard, self.pacing)
        self.ticker = Ticker(parts.connection, self.keys, post.schedules, guard.definition)
        self._claiming: asyncio.Task[None] | None = None
        self._abandoned = False

    async def join(self) -> None:
        """Announce this worker at its queue.

        Raises:
            MicrobatchError: Redis cannot be reached or refuses.
        """
        mine = (str(self.settings.max_batch_size), f"{self.settings.max_wait_ms:g}")
        previous = await self._parts.connection.run(
            join(
                self.keys,
                self._parts.worker_id,
                max_batch_size=self.settings.max_batch_size,
                max_wait_ms=self.settings.max_wait_ms,
            )
        )
        self.claimer.form.heed(previous.limits)
        await self._parts.register.enter(self.settings.queue)
        if previous.max_batch_size and (previous.max_batch_size, previous.max_wait_ms) != mine:
            log.warning(
                "queue %s: max_batch_size=%s max_wait_ms=%s here, another worker declared %s and %s",
                self.settings.queue,
                *mine,
                previous.max_batch_size,
                previous.max_wait_ms,
            )

    def start(self) -> None:
        """Begin to claim."""
        self._claiming = asyncio.create_task(
            self.claimer.run(), name=f"microbatch-claim-{self.settings.queue}"
        )

    def resize(self, slots: int) -> None:
        """Run so many batches at a time from now on; those that run beyond it are finished."""
        self.ledger.slots = slots
        self.pacing.resize(slots)
        self.runner.resize(slots)
        self._parts.observer.resized(self.settings.queue, slots)
        self.bell.ring()

    async def is_dry(self) -> bool:
        """Whether nothing waits, nothing is in flight here, and no retry of ours is still to come."""
        if self._is_busy():
            if self.ledger.offer.ids:  # perhaps taken for us, and perhaps not: ask
                self.bell.ring()
            return False
        status = await self._parts.connection.run(
            queue_status(self.keys, heartbeat_limit_ms=round(self._parts.settings.heartbeat_limit_s * 1000))
        )
        return status.waiting == 0 and not self._is_busy()  # a whole batch may have come and gone meanwhile

    def _is_busy(self) -> bool:
        return (
            self.ledger.running > 0
            or bool(self.ledger.offer.ids)
            or time.monotonic() <= self._settler.retries_due_s
        )

    async def stop_claiming(self) -> None:
        """Let the claim loop end; a claim that is on its way is awaited, and its batch still runs."""
        self.claimer.leave()
        await self.ticker.stop()
        await self.pacing.close()
        if self._claiming is not None:
            # Unlike gather, wait leaves the loop alone when we are cancelled: its claim may be on its way.
            await asyncio.wait({self._claiming})

    async def drain(self) -> None:
        """Wait until every batch is settled; hand back what was claimed and never heard of."""
        while tasks := self.ledger.tasks():
            await asyncio.wait(tasks.values())
        for batch_id in self.ledger.close():
            await self._settler.hand_back(self._parts.worker_id, batch_id, ran=False)

    async def hand_back(self) -> int:
        """Give up what is in flight: hand it back at once; returns how many jobs went."""
        self.ground()
        try:
            moved = await self._release_all()
            await self.stop_claiming()  # a claim that was on its way holds another batch
            moved += await self._release_all()
        finally:
            tasks = self.ledger.tasks().values()
            for task in tasks:
                task.cancel()
            if tasks:
                _, stuck = await asyncio.wait(tasks, timeout=CANCEL_GRACE_S)
                self._abandoned = bool(stuck) or self.runner.may_stick
        return moved

    async def _release_all(self) -> int:
        moved = 0
        for batch_id in self.ledger.ids_to_release():
            ran = self.has_begun(batch_id)
            moved += await self._settler.hand_back(self._parts.worker_id, batch_id, ran=ran)
        return moved

    def ground(self) -> None:
        """Let no batch begin any more; safe to call from any thread, before you ask which have begun."""
        self._pilot.ground()

    def has_begun(self, batch_id: str) -> bool:
        """Whether the processor has been given this batch; safe to call from any thread."""
        return self._pilot.has_begun(batch_id)

    def heard(self, message: bytes) -> None:
        """Take note of the wake channel: there may be work, or here it is, or a job was cancelled."""
        if message.startswith(HANDED_MESSAGE):
            self.claimer.heard(message.removeprefix(HANDED_MESSAGE))
        elif message.startswith(CANCEL_MESSAGE):
            self._pilot.cancelled(message.removeprefix(CANCEL_MESSAGE).decode("ascii", "replace"))
        else:
            self.claimer.woken()

    def _begin(self, batch_id: str, claimed: Claimed) -> None:
        task = asyncio.create_task(self._process(batch_id, claimed), name=f"microbatch-batch-{batch_id}")
        self.ledger.enter(batch_id, task)
        task.add_done_callback(lambda done: self._end(batch_id, done))

    def _end(self, batch_id: str, task: asyncio.Task[None]) -> None:
        self._pilot.landed(batch_id)
        end: BatchEnd = "handed_back" if task.cancelled() else "settled"
        if not task.cancelled() and (error := task.exception()) is not None:
            end = "broke"
            # A bug of ours: the jobs stay claimed, so the heartbeat hands them back as orphans.
            log.error("queue %s: batch %s broke", self.settings.queue, batch_id, exc_info=error)
        self.pacing.ended(batch_id)
        self.pacing.freed()
        self._parts.observer.ended(self.settings.queue, batch_id, end)
        self.ledger.strike(batch_id)
        self.claimer.landed()
        self._parts.retirement.batch_ended()

    async def _process(self, batch_id: str, claimed: Claimed) -> None:
        newer = await self._pilot.fly(batch_id, claimed)
        if newer:
            self.ledger.park(batch_id)  # they would come straight back; newer workers come first
            await asyncio.sleep(NEWER_PAUSE_S)
            log.warning("queue %s: handed %d jobs of a later version back", self.settings.queue, newer)
            await self._settler.hand_back(self._parts.worker_id, batch_id, ran=False)

    async def leave(self) -> None:
        """Be forgotten by the queue."""
        await self.claimer.step_aside(leaving=True)

    async def teardown(self) -> None:
        """Release what the processor holds."""
        self._pilot.stop()
        if self._abandoned:  # its thread may be stuck in `process`: a teardown beside it could only hang
            self.runner.abandon()
        else:
            await self.runner.teardown()
