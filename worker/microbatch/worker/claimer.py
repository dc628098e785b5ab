"""The claim loop of one queue: take a batch for each free slot, sleep when there is none.

Rule: it claims only for a free slot (no prefetch), it never waits on the server (the wait is a local timer
plus the bell), and the same batch id is claimed again until a reply has come, so that no claim is ever lost.
It is in the queue's `idle` set only while it has a free slot and is not quiet.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from microbatch.common.connection import Connection, backoff_s
from microbatch.common.connection.patience import is_out_of_reach
from microbatch.common.errors import MicrobatchError
from microbatch.common.identifiers import new_batch_id
from microbatch.common.keys import QueueKeys
from microbatch.common.limits import NO_LIMITS
from microbatch.common.scripts import Call, Claimed, ClaimReply, Hold, Idle, Watch, claim, step_aside
from microbatch.worker.observer import NO_OBSERVER

if TYPE_CHECKING:
    from collections.abc import Callable

    from microbatch.common.limits import BatchLimits
    from microbatch.worker.bell import Bell
    from microbatch.worker.ledger import Ledger
    from microbatch.worker.pacing import Pacing

__all__ = ["MAX_BATCH_BYTES", "Claimer"]

log = logging.getLogger("microbatch.worker")
MAX_BATCH_BYTES = 16 << 20
NEWER_PAUSE_S = 1.0
REFUSED_PAUSE_S = 1.0
IDLE = Idle()
HEAD_START = 4  # turns of the loop: to decode, to process what needs no waiting, and to send the outcomes


class Claimer:
    """Claims for one queue; what it claimed it hands to `on_batch`, which enters it into the ledger."""

    def __init__(
        self,
        connection: Connection,
        worker_id: str,
        pacing: Pacing,
        ledger: Ledger,
        bell: Bell,
        on_batch: Callable[[str, Claimed], None],
    ) -> None:
        self.bell = bell
        self.is_idle = False
        self.limits = NO_LIMITS
        self.observer = NO_OBSERVER
        self.asking_since_s: float | None = None  # since when a claim is on its way, on the monotonic clock
        self.has_ended = False
        self._connection = connection
        self._worker_id = worker_id
        self._pacing = pacing
        self._keys = QueueKeys(pacing.queue)
        self._ledger = ledger
        self._on_batch = on_batch
        self.is_quiet = False  # set from any thread; then the bell has to be rung, on the loop
        self._leaving = False
        self._aside = False
        self._is_listed = False  # whether Redis may still think that we are idle, or watch
        self._batch_id = new_batch_id()
        self._failures = 0

    def quiet(self) -> None:
        """Stop claiming, until `resume`."""
        self.is_quiet = True
        self.bell.ring()

    def resume(self) -> None:
        """Claim again."""
        self.is_quiet = False
        self.bell.ring()

    def leave(self) -> None:
        """Stop claiming for good; `run` returns."""
        self._leaving = True
        self.bell.ring()

    @property
    def takes_work(self) -> bool:
        """Whether it claims, or will as soon as a slot is free."""
        return not self.is_quiet and not self._leaving

    @property
    def state(self) -> str:
        """`leaving`, `quiet`, or empty: it takes work."""
        return "leaving" if self._leaving else "quiet" if self.is_quiet else ""

    def heed(self, limits: BatchLimits) -> None:
        """Form batches as an operator says from the next claim on; from any thread of this process."""
        if limits != self.limits:
            log.info("queue %s: the limits of its batches changed: %s", self._keys.queue, _said(limits))
            self.limits = limits

    async def run(self) -> None:
        """Claim until `leave`."""
        try:
            await self._claim_until_told()
        finally:
            self.has_ended = True
        if not self._aside:  # the drain may take long: whoever is idle must not wait for us meanwhile
            await self.step_aside(leaving=False)

    async def _claim_until_told(self) -> None:
        while not self._leaving:
            try:
                await self._turn()
            except MicrobatchError as error:
                await self._fail(error)  # under the same batch id: the claim may have been executed
            except Exception as error:
                # A bug of ours, such as a reply that cannot be read. A loop that ended here would leave a
                # worker that looks alive and takes nothing. The heartbeat hands the old batch back.
                log.exception("queue %s: the claim loop broke", self._keys.queue)
                self._batch_id = new_batch_id()
                self._ledger.abandon()
                await self._fail(error)

    async def _turn(self) -> None:
        if self.is_quiet:
            await self._stand_aside()
            return
        if not self._ledger.has_free_slot:
            if self._is_listed:  # a suspect of another queue runs alone: a wake of ours must not be lost
                self._is_listed = False
                await self.step_aside(leaving=False)
            await self._wait_for_slot()
            return
        self._aside = False
        self.bell.silence()
        batch_id = self._batch_id
        self._ledger.expect(batch_id)
        self.asking_since_s = time.monotonic()
        reply = await self._connection.run(self._claim(batch_id))
        self.asking_since_s = None
        self._failures = 0
        if isinstance(reply, Claimed):
            self._is_listed = reply.is_last
            self._batch_id = new_batch_id()
            is_one_more = self._ledger.has_parked and any(entry.newer for entry in reply.entries)
            self._pacing.claimed(batch_id, reply)
            self._on_batch(batch_id, reply)
            if reply.is_last:
                await self._sleep(IDLE)
                return
            if reply.reason != "size":
                for _ in range(HEAD_START):  # what the batch can do at once goes before the next claim
                    await asyncio.sleep(0)
            if is_one_more:  # many for newer workers: what is held for them must not grow
                await asyncio.sleep(NEWER_PAUSE_S)
            return
        self._is_listed = True
        self._ledger.expect(None)
        if isinstance(reply, Idle):
            self._pacing.idle()
        await self._sleep(reply)

    async def _fail(self, error: Exception) -> None:
        self.asking_since_s = None
        self.observer.redis_failed(self._keys.queue, "claim")
        log.warning("queue %s: claim failed: %s", self._keys.queue, error)
        may_pass = isinstance(error, MicrobatchError) and is_out_of_reach(error)
        await asyncio.sleep(backoff_s(self._failures + 3) if may_pass else REFUSED_PAUSE_S)
        self._failures += 1

    async def step_aside(self, *, leaving: bool) -> None:
        """Tell Redis that this worker takes no work; a failure is left to the heartbeat limit."""
        try:
            await self._connection.run(step_aside(self._keys, self._worker_id, leaving=leaving))
        except MicrobatchError as error:
            log.warning("queue %s: stepping aside failed: %s", self._keys.queue, error)

    def _claim(self, batch_id: str) -> Call[ClaimReply]:
        terms = self._pacing.terms()
        adaptive = self._pacing.most is not None  # then declared values are limits, and so are an operator's
        size, wait_ms = self.limits.applied(terms.max_batch_size, terms.max_wait_ms, capping=adaptive)
        return claim(
            self._keys,
            self._worker_id,
            batch_id,
            max_batch_size=size,
            max_wait_ms=wait_ms,
            max_batch_bytes=MAX_BATCH_BYTES,
            is_spare=self._ledger.free_slots > 1 and not self._ledger.has_parked,
            terms=terms.batch,
            hold=terms.hold and Hold(min(terms.hold.fill, size), terms.hold.hold_ms),
        )

    async def _sleep(self, reply: Watch | Idle) -> None:
        if isinstance(reply, Watch):
            await self.bell.wait(reply.wait_s)
            return
        self.is_idle = True
        try:
            await self.bell.wait()
        finally:
            self.is_idle = False

    async def _wait_for_slot(self) -> None:
        """Sleep until a slot is free; a wake that arrives meanwhile goes to another worker."""
        self.bell.silence()
        if self._ledger.has_free_slot:
            return
        await self.bell.wait()
        if not self._ledger.has_free_slot and not self._leaving and not self.is_quiet:
            await self.step_aside(leaving=False)

    async def _stand_aside(self) -> None:
        if not self._aside:
            self._aside = True
            await self.step_aside(leaving=False)
        self.bell.silence()
        if self.is_quiet and not self._leaving:
            await self.bell.wait()


def _said(limits: BatchLimits) -> str:
    said = [
        f"{name}={value:g}"
        for name, value in (("max_batch_size", limits.max_batch_size), ("max_wait_ms", limits.max_wait_ms))
        if value is not None
    ]
    return f"an operator says {' '.join(said)}" if said else "the worker's own limits hold again"
