"""What one queue's claims ask for: as declared, or at the pace that pays.

Rule: the claim loop asks here before each claim and tells what came of it; it does not know which of the two
it talks to. `Pace` decides, without a clock; here it is given Redis's time, by which jobs say when they came.

What the fleet knows is an estimate: not to reach Redis for it costs nothing but that.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Protocol

from microbatch.common.errors import MicrobatchError
from microbatch.common.scripts import BatchTerms, Hold, pace
from microbatch.common.stopping import stop
from microbatch.worker.duration_model import RunSums
from microbatch.worker.pace import Pace

if TYPE_CHECKING:
    from collections.abc import Callable

    from microbatch.common.connection import Connection
    from microbatch.common.keys import QueueKeys
    from microbatch.common.scripts import Claimed
    from microbatch.common.settings.queue import QueueSettings

__all__ = ["AdaptivePacing", "ClaimTerms", "FixedPacing", "Pacing", "pacing_for"]

log = logging.getLogger("microbatch.worker")
EXCHANGE_EVERY_MS = 5_000
HALF_LIFE_MS = 60_000
_CLOCK_WEIGHT = 0.1


@dataclass(frozen=True, slots=True)
class ClaimTerms:
    """What a claim asks for."""

    max_batch_size: int
    max_wait_ms: float
    batch: BatchTerms
    hold: Hold | None = None


class Pacing(Protocol):
    """Decides what claims ask for."""

    @property
    def queue(self) -> str:
        """Whose batches."""

    @property
    def most(self) -> Callable[[], int] | None:
        """Says how many batches may run at once for now; None: as many as are declared, always."""

    def terms(self) -> ClaimTerms:
        """What the next claim asks for."""

    def claimed(self, batch: str, reply: Claimed) -> None:
        """A claim was answered with a batch, which begins to run."""

    def idle(self) -> None:
        """A claim found nothing."""

    def ended(self, batch: str) -> None:
        """The processor has answered; called also where it never began."""

    def freed(self) -> None:
        """A batch has left its slot."""

    def resize(self, slots: int) -> None:
        """So many batches may run at once from now on."""

    async def close(self) -> None:
        """Learn and tell nothing any more."""


class FixedPacing:
    """Sizes and waits as declared."""

    def __init__(self, settings: QueueSettings) -> None:
        self.queue = settings.queue
        self.most = None
        self._terms = ClaimTerms(settings.max_batch_size, settings.max_wait_ms, _batch_terms(settings))

    def terms(self) -> ClaimTerms:
        """See `Pacing`."""
        return self._terms

    def claimed(self, batch: str, reply: Claimed) -> None:
        """See `Pacing`."""

    def idle(self) -> None:
        """See `Pacing`."""

    def ended(self, batch: str) -> None:
        """See `Pacing`."""

    def freed(self) -> None:
        """See `Pacing`."""

    def resize(self, slots: int) -> None:
        """See `Pacing`."""

    async def close(self) -> None:
        """See `Pacing`."""


class AdaptivePacing:
    """The declared sizes and waits are limits; `Pace` decides.

    Args:
        connection: Where the fleet's knowledge is.
        keys: The queue's keys.
        settings: The queue's.
        clock_s: A clock that never jumps, in seconds.
    """

    def __init__(
        self,
        connection: Connection,
        keys: QueueKeys,
        settings: QueueSettings,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.queue = settings.queue
        self._connection = connection
        self._keys = keys
        self._settings = settings
        self._clock_s = clock_s
        self._pace = Pace(
            settings.max_batch_size, settings.max_wait_ms, settings.concurrency, settings.target_p95_ms
        )
        self._ahead_ms: float | None = None  # how far Redis's clock is ahead of ours
        self._exchanged_ms = -float("inf")
        self._exchange: asyncio.Task[None] | None = None

    def most(self) -> int:
        """See `Pacing`."""
        return self._pace.slots

    def terms(self) -> ClaimTerms:
        """See `Pacing`."""
        plan, settings = self._pace.plan(self._now_ms()), self._settings
        if plan.hold_ms <= 0:
            return ClaimTerms(plan.size, 0.0, _batch_terms(settings))
        hold = Hold(plan.fill, plan.hold_ms)
        return ClaimTerms(plan.size, settings.max_wait_ms, _batch_terms(settings), hold)

    def claimed(self, batch: str, reply: Claimed) -> None:
        """See `Pacing`."""
        ahead_ms = reply.claimed_ms - self._clock_s() * 1000
        if self._ahead_ms is None or abs(ahead_ms - self._ahead_ms) > EXCHANGE_EVERY_MS:  # first, or was set
            self._ahead_ms = ahead_ms
        self._ahead_ms += _CLOCK_WEIGHT * (ahead_ms - self._ahead_ms)
        self._pace.claimed(batch, [entry.enqueued_ms for entry in reply.entries], self._now_ms())

    def idle(self) -> None:
        """See `Pacing`."""
        self._pace.idle()

    def ended(self, batch: str) -> None:
        """See `Pacing`."""
        self._pace.ended(batch, self._now_ms())

    def freed(self) -> None:
        """See `Pacing`."""
        now_ms = self._now_ms()
        self._pace.freed(now_ms)
        if self._exchange is None and now_ms - self._exchanged_ms > EXCHANGE_EVERY_MS:
            self._exchanged_ms = now_ms
            self._exchange = asyncio.create_task(self._tell_and_hear(), name="microbatch-pace")

    def resize(self, slots: int) -> None:
        """See `Pacing`."""
        self._pace.resize(slots)

    async def close(self) -> None:
        """See `Pacing`."""
        if self._exchange is not None:
            await stop(self._exchange)

    def _now_ms(self) -> float:
        return self._clock_s() * 1000 + (self._ahead_ms or 0.0)

    async def _tell_and_hear(self) -> None:
        try:
            call = pace(self._keys, astuple(self._pace.take_news()), half_life_ms=HALF_LIFE_MS)
            self._pace.hear(RunSums(*await self._connection.run(call)))
        except MicrobatchError as error:
            log.debug("queue %s: the fleet's pace is unknown: %s", self._settings.queue, error)
        finally:
            self._exchange = None


def pacing_for(connection: Connection, keys: QueueKeys, settings: QueueSettings) -> Pacing:
    """What the queue's `batching` asks for."""
    if settings.batching == "adaptive":
        return AdaptivePacing(connection, keys, settings)
    return FixedPacing(settings)


def _batch_terms(settings: QueueSettings) -> BatchTerms:
    return BatchTerms(settings.max_starvation_s, settings.max_batch_bytes, settings.max_batch_cost)
