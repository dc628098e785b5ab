"""The batches that one queue holds in this process: the one record of what must be settled or handed back.

Rule: a batch is entered before it is claimed (its id is chosen here, so a claim whose reply was lost is still
known, and so is one that a submit made for us) and struck out when it is settled or handed back. The loop
writes; the heartbeat thread and the signal handler only read, each in one step.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from microbatch.worker.offer import Offer

if TYPE_CHECKING:
    from collections.abc import Callable

    from microbatch.worker.isolation import Isolation

__all__ = ["Ledger"]

UNSEEN_KEPT = 64


class Ledger:
    """Batches in flight of one queue, and the free slots that are left.

    Args:
        slots: How many batches may be in flight.
        on_free_slot: Called on the loop when a slot became free.
        isolation: While a suspect runs alone in this process, no slot is free.
        most: How many may be in flight for now, if that is less.
    """

    def __init__(
        self,
        slots: int,
        on_free_slot: Callable[[], None],
        isolation: Isolation,
        most: Callable[[], int] | None = None,
    ) -> None:
        self.slots = slots
        self.offer = Offer()
        self._most = most
        self._isolation = isolation
        self._on_free_slot = on_free_slot
        self._claiming: str | None = None
        self._running: dict[str, asyncio.Task[None]] = {}
        self._parked: set[str] = set()
        self._unseen: deque[str] = deque(maxlen=UNSEEN_KEPT)

    @property
    def has_free_slot(self) -> bool:
        """Whether another batch may be claimed."""
        return self.free_slots > 0

    @property
    def free_slots(self) -> int:
        """How many batches may be claimed."""
        slots = self.slots if self._most is None else min(self.slots, self._most())
        return 0 if self._isolation.is_wanted else max(0, slots - self.running)

    @property
    def running(self) -> int:
        """How many batches are in flight, each in a slot."""
        return len(self._running) - len(self._parked)

    @property
    def has_parked(self) -> bool:
        """Whether a batch is held without a slot."""
        return bool(self._parked)

    @property
    def claiming(self) -> str | None:
        """The id of the claim that is on its way, or whose reply was lost."""
        return self._claiming

    def batch_ids(self) -> list[str]:
        """The batches that run, and the one that we claim; safe to call from any thread."""
        claiming = self._claiming
        return [*list(self._running), *([claiming] if claiming else [])]

    def ids_to_release(self) -> list[str]:
        """Every batch that Redis may hold for us, known or not; safe to call from any thread."""
        return list(dict.fromkeys((*self.batch_ids(), *self.offer.ids)))

    def close(self) -> list[str]:
        """Expect no batch any more; returns the ids of those that we may have without knowing."""
        unheard = [each for each in self.ids_to_release() if each not in self._running]
        self._claiming = None
        self.offer.withdraw_all()
        return unheard

    def expect(self, batch_id: str | None) -> None:
        """A claim under this id is about to be sent; None: its reply said that there is no batch."""
        self._claiming = batch_id

    def abandon(self) -> None:
        """The claim that is on its way is asked for no more, although nobody knows what it took."""
        if self._claiming is not None:
            self._give_up(self._claiming)
        self._claiming = None

    def miss(self, batch_id: str) -> None:
        """A submit claimed it for us long ago and we were not told: unless it has begun, it never will."""
        if batch_id in self.offer.ids and batch_id != self._claiming:
            self._give_up(batch_id)

    def _give_up(self, batch_id: str) -> None:
        self._unseen.append(batch_id)
        self.offer.withdraw(batch_id)
        self.offer.use_up(batch_id)

    def is_unseen(self, batch_id: str) -> bool:
        """Whether a batch was given up unheard, so that nothing of it ever ran; from any thread.

        Only the last ones are known: others count as seen.
        """
        return batch_id in tuple(self._unseen)

    def holds(self, batch_id: str) -> bool:
        """Whether the batch is in flight here."""
        return batch_id in self._running

    def enter(self, batch_id: str, task: asyncio.Task[None]) -> None:
        """The expected batch is running."""
        self._running[batch_id] = task
        self.offer.withdraw(batch_id)
        if batch_id == self._claiming:
            self._claiming = None

    def park(self, batch_id: str) -> None:
        """The batch is processed, and what it has for newer workers is held a while: its slot is free."""
        self._parked.add(batch_id)
        self._on_free_slot()

    def strike(self, batch_id: str) -> None:
        """The batch is settled, or handed back."""
        was_full = not self.has_free_slot
        self._running.pop(batch_id, None)
        self._parked.discard(batch_id)
        # Else the claim loop sleeps beside a free slot, and another tells it nothing; unless `most` moved.
        if was_full or self._most is not None:
            self._on_free_slot()

    async def gone(self, batch_id: str) -> None:
        """Return when the batch is in flight no more."""
        while (task := self._running.get(batch_id)) is not None:
            await asyncio.wait({task})
            await asyncio.sleep(0)  # whoever strikes it out is called after us

    def tasks(self) -> dict[str, asyncio.Task[None]]:
        """The tasks of the batches in flight."""
        return dict(self._running)
