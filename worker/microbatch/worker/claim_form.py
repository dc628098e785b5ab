"""What the next claim of one queue says: how large a batch, after what wait, and what it offers.

Rule: declared values, or those of the pace, within what an operator says; one place decides from that whether
submits may claim for this worker. It sends nothing, and keeps no batch.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from microbatch.common.limits import NO_LIMITS
from microbatch.common.scripts import BatchTerms, Call, ClaimReply, Hold, claim

if TYPE_CHECKING:
    from microbatch.common.keys import QueueKeys
    from microbatch.common.limits import BatchLimits
    from microbatch.worker.ledger import Ledger
    from microbatch.worker.pacing import Pacing

__all__ = ["MAX_BATCH_BYTES", "ClaimForm"]

log = logging.getLogger("microbatch.worker")
MAX_BATCH_BYTES = 16 << 20
NO_TERMS = BatchTerms()


class ClaimForm:
    """Fills claims in.

    Args:
        keys: The queue's keys.
        worker_id: Who claims.
        pacing: What to ask for.
        ledger: How many slots are free, and the ids of the batches to come.

    Attributes:
        limits: What an operator says.
        size: How many jobs the last claim asked for.
        may_offer: Whether submits may claim for this worker at all.
    """

    def __init__(self, keys: QueueKeys, worker_id: str, pacing: Pacing, ledger: Ledger) -> None:
        self.limits = NO_LIMITS
        self.size = 0
        self.may_offer = True
        self._keys = keys
        self._worker_id = worker_id
        self._pacing = pacing
        self._ledger = ledger

    def heed(self, limits: BatchLimits) -> None:
        """Form batches as an operator says from the next claim on; from any thread of this process."""
        if limits != self.limits:
            log.info("queue %s: the limits of its batches changed: %s", self._keys.queue, _said(limits))
            self.limits = limits

    def filled(self) -> Call[ClaimReply]:
        """The next claim, under the next id; what it offers stands from now on."""
        terms, offer = self._pacing.terms(), self._ledger.offer
        adaptive = self._pacing.most is not None  # then declared values are limits, and so are an operator's
        size, wait_ms = self.limits.applied(terms.max_batch_size, terms.max_wait_ms, capping=adaptive)
        is_spare = self._ledger.free_slots > 1 and not self._ledger.has_parked
        self.size = size
        if self.may_offer and wait_ms == 0 and not terms.hold and terms.batch == NO_TERMS:
            offer.make(with_spare=is_spare)
        else:  # whoever claims for us knows neither waits nor budgets
            offer.decline()
        return claim(
            self._keys,
            self._worker_id,
            offer.next_id,
            max_batch_size=size,
            max_wait_ms=wait_ms,
            max_batch_bytes=MAX_BATCH_BYTES,
            spare=offer.spare_id if is_spare else "",
            offers=offer.name,
            terms=terms.batch,
            hold=terms.hold and Hold(min(terms.hold.fill, size), terms.hold.hold_ms),
        )


def _said(limits: BatchLimits) -> str:
    said = [
        f"{name}={value:g}"
        for name, value in (("max_batch_size", limits.max_batch_size), ("max_wait_ms", limits.max_wait_ms))
        if value is not None
    ]
    return f"an operator says {' '.join(said)}" if said else "the worker's own limits hold again"
