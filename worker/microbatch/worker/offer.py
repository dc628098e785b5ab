"""The ids of one queue's next batches, and those of them under which a submit may claim for this worker.

Rule: an id is chosen here before anybody claims under it, and stands from the moment at which a claim that
offers it leaves, until its batch is known or a claim has found none under it. It sends nothing.
"""

from __future__ import annotations

from microbatch.common.identifiers import new_batch_id

__all__ = ["Offer"]


class Offer:
    """What an idle worker lets submits take for it.

    Attributes:
        next_id: Under which the next claim is sent.
        spare_id: The one after it.
        ids: Those that stand; may be read from any thread.
        listed: Those of them that Redis offers, as far as we know: the others stood before the last claim.
        name: Of what the last claim offered; empty where it offered nothing.
    """

    def __init__(self) -> None:
        self.next_id, self.spare_id = new_batch_id(), new_batch_id()
        self.ids: tuple[str, ...] = ()
        self.listed: tuple[str, ...] = ()
        self.name = ""
        self._made = 0

    @property
    def is_made(self) -> bool:
        """Whether the last claim offered anything."""
        return self.name != ""

    def make(self, *, with_spare: bool) -> None:
        """A claim leaves that offers its own id, and the spare one."""
        self._made += 1
        self.name = str(self._made)
        self.listed = (self.next_id, self.spare_id) if with_spare else (self.next_id,)
        self.ids = _joined(self.ids, *self.listed)

    def decline(self) -> None:
        """A claim leaves that offers nothing."""
        self.name, self.listed = "", ()

    def extend(self) -> tuple[str, str]:
        """Let the spare id stand too; returns the name of the offer, and the id."""
        self.listed = _joined(self.listed, self.spare_id)
        self.ids = _joined(self.ids, self.spare_id)
        return self.name, self.spare_id

    def withdraw(self, batch_id: str) -> bool:
        """What is under this id is known now; returns whether it stood until now."""
        stood = batch_id in self.ids
        self.ids = tuple(each for each in self.ids if each != batch_id)
        self.listed = tuple(each for each in self.listed if each != batch_id)
        return stood

    def withdraw_all(self) -> None:
        """Nothing stands any more."""
        self.ids = self.listed = ()

    def use_up(self, batch_id: str) -> None:
        """A batch has this id now, or nobody may claim under it again."""
        if batch_id == self.next_id:
            self.next_id, self.spare_id = self.spare_id, new_batch_id()
        elif batch_id == self.spare_id:
            self.spare_id = new_batch_id()


def _joined(ids: tuple[str, ...], *more: str) -> tuple[str, ...]:
    return (*ids, *(each for each in more if each not in ids))
