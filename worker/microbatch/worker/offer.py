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
        is_made: Whether the last claim offered anything.
    """

    def __init__(self) -> None:
        self.next_id, self.spare_id = new_batch_id(), new_batch_id()
        self.ids: tuple[str, ...] = ()
        self.is_made = False
        self._since = ""

    def make(self, *, with_spare: bool) -> None:
        """A claim leaves that offers its own id, and the spare one."""
        self.is_made, self._since = True, self.next_id
        self._stand(self.next_id)
        if with_spare:
            self._stand(self.spare_id)

    def decline(self) -> None:
        """A claim leaves that offers nothing."""
        self.is_made = False

    def extend(self) -> tuple[str, str]:
        """Let the spare id stand too; returns the claim that made the offer, and the id."""
        self._stand(self.spare_id)
        return self._since, self.spare_id

    def withdraw(self, batch_id: str) -> bool:
        """What is under this id is known now; returns whether it stood until now."""
        stood = batch_id in self.ids
        self.ids = tuple(each for each in self.ids if each != batch_id)
        return stood

    def withdraw_all(self) -> tuple[str, ...]:
        """Nothing stands any more; returns what did."""
        ids, self.ids = self.ids, ()
        return ids

    def use_up(self, batch_id: str) -> None:
        """A batch has this id now, or nobody may claim under it again."""
        if batch_id == self.next_id:
            self.next_id, self.spare_id = self.spare_id, new_batch_id()
        elif batch_id == self.spare_id:
            self.spare_id = new_batch_id()

    def _stand(self, batch_id: str) -> None:
        if batch_id not in self.ids:
            self.ids = (*self.ids, batch_id)
