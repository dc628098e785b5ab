"""The claim loop of one queue: take a batch for each free slot, sleep when there is none.

Rule: it claims only for a free slot (no prefetch), it never waits on the server (the wait is a local timer
plus the bell), and the same batch id is claimed again until a reply has come, so that no claim is ever lost.
It is in the queue's `idle` set only while it has a free slot and is not quiet. There it offers the ids of its
next batches, one for each free slot: a submit may claim under them for it, and `heard` begins what that took.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from microbatch.common.connection import Connection, backoff_s
from microbatch.common.connection.patience import is_out_of_reach
from microbatch.common.errors import MicrobatchError, ProtocolError
from microbatch.common.keys import QueueKeys
from microbatch.common.scripts import Claimed, Idle, Watch, read_handed, step_aside
from microbatch.worker.claim_form import ClaimForm
from microbatch.worker.observer import NO_OBSERVER

if TYPE_CHECKING:
    from collections.abc import Callable

    from microbatch.worker.bell import Bell
    from microbatch.worker.ledger import Ledger
    from microbatch.worker.pacing import Pacing

__all__ = ["Claimer"]

log = logging.getLogger("microbatch.worker")
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
        self.observer = NO_OBSERVER
        self.asking_since_s: float | None = None  # since when a claim is on its way, on the monotonic clock
        self.has_ended = False
        self._connection = connection
        self._worker_id = worker_id
        self._pacing = pacing
        self._keys = QueueKeys(pacing.queue)
        self._ledger = ledger
        self._on_batch = on_batch
        self.form = ClaimForm(self._keys, worker_id, pacing, ledger)
        self.is_quiet = False  # set from any thread; then the bell has to be rung, on the loop
        self._leaving = False
        self._aside = False
        self._is_listed = False  # whether Redis may still think that we are idle, or watch
        self._offer = ledger.offer
        self._gives_way = False
        self._overtaken: Claimed | None = None  # handed over while a claim under the same id is on its way
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

    def stop_offering(self) -> None:
        """Let no submit claim for this worker any more, once what was offered is known to be unused."""
        self.form.may_offer = False
        self.bell.ring()

    def woken(self) -> None:
        """Look for work; Redis counts on us until we have looked, or stepped aside."""
        self._is_listed = True
        self.bell.ring()

    def heard(self, message: bytes) -> None:
        """Begin a batch that a submit claimed for this worker, unless it is known by now."""
        try:
            batch_id, claimed = read_handed(message, self.form.size)
        except ProtocolError as error:
            log.warning("queue %s: looks by itself: %s", self._keys.queue, error)
            self.bell.ring()
            return
        if batch_id not in self._offer.ids:
            return  # the claim under its id was answered first; or nobody here knows that id
        if batch_id == self._ledger.claiming:
            self._overtaken = claimed
        self._begin(batch_id, claimed)
        self._gives_way = True
        if not self._offer.listed:
            self.is_idle = self._is_listed = False
            if self._ledger.has_free_slot:
                self.bell.ring()

    def next_offer(self) -> tuple[str, str] | None:
        """One more id for whom this worker is idle: the end of a batch makes up for the one that it used."""
        if self.is_idle and len(self._offer.listed) == 1 and self._ledger.has_free_slot:
            return self._offer.extend()
        return None

    def landed(self) -> None:
        """A batch has ended: whoever is idle has one more slot to offer."""
        if self.is_idle and self._offer.is_made and len(self._offer.listed) < min(2, self._ledger.free_slots):
            self.bell.ring()

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
                self._ledger.abandon()
                await self._fail(error)

    async def _turn(self) -> None:
        if self._gives_way:
            await self._give_way()
            return  # we may have been told to leave meanwhile: the bell must not be silenced before we look
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
        batch_id, self._overtaken = self._offer.next_id, None
        self._ledger.expect(batch_id)
        self.asking_since_s = time.monotonic()
        reply = await self._connection.run(self.form.filled())
        self.asking_since_s = None
        self._failures = 0
        if isinstance(reply, Claimed):
            await self._take(batch_id, reply)
            return
        self._ledger.expect(None)
        if not self._offer.is_made:
            self._offer.withdraw(batch_id)
            if self._offer.ids:  # from an earlier claim: look whether it was taken
                self._offer.use_up(batch_id)
                return
        elif not self._offer.listed:  # all of it was taken before we heard that it stands
            return
        self._is_listed = True
        if isinstance(reply, Idle):
            self._pacing.idle()
        await self._sleep(reply)

    async def _take(self, batch_id: str, reply: Claimed) -> None:
        """Begin what a claim took."""
        self._is_listed = reply.is_last
        handed = {entry.token for entry in self._overtaken.entries} if self._overtaken else set()
        if handed:
            self._ledger.expect(None)
            if handed.issuperset(entry.token for entry in reply.entries):
                return  # begun already
            await self._ledger.gone(
                batch_id
            )  # it was over when the claim arrived, which took more under its id
            self._on_batch(batch_id, reply)
            return
        is_one_more = self._ledger.has_parked and any(entry.newer for entry in reply.entries)
        self._begin(batch_id, reply)
        if reply.is_last:
            await self._sleep(IDLE)
            return
        if reply.reason != "size":
            await self._give_way()
        if is_one_more:  # many for newer workers: what is held for them must not grow
            await asyncio.sleep(NEWER_PAUSE_S)

    def _begin(self, batch_id: str, claimed: Claimed) -> None:
        self._offer.use_up(batch_id)
        self._pacing.claimed(batch_id, claimed)
        self._on_batch(batch_id, claimed)

    async def _give_way(self) -> None:
        """Let what a batch can do at once go before the next claim."""
        self._gives_way = False
        for _ in range(HEAD_START):
            await asyncio.sleep(0)

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
            held = await self._connection.run(step_aside(self._keys, self._worker_id, leaving=leaving))
            if not held:  # so nothing was taken for us, and nothing will be until we claim
                self._offer.withdraw_all()
        except MicrobatchError as error:
            log.warning("queue %s: stepping aside failed: %s", self._keys.queue, error)

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
        if self._ledger.has_free_slot or self._is_listed:
            return
        await self.bell.wait()
        if not self._ledger.has_free_slot and not self._leaving and not self.is_quiet:
            self._is_listed = False
            await self.step_aside(leaving=False)

    async def _stand_aside(self) -> None:
        if not self._aside or (self._offer.ids and not self.form.may_offer):
            self._aside = True
            await self.step_aside(leaving=False)
        self.bell.silence()
        if self.is_quiet and not self._leaving:
            await self.bell.wait()
