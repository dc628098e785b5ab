"""The typed side of `settle.lua`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Literal

from microbatch.common.scripts.script import Arg, Call, load

if TYPE_CHECKING:
    from collections.abc import Sequence

    from microbatch.common.jobs.entry import Entry
    from microbatch.common.keys import QueueKeys

__all__ = ["BatchFacts", "Ending", "Outcome", "SettleCode", "settle"]


Ending = Literal["succeeded", "failed", "expired", "retry"]
_WIDTH = 3  # arguments of one job


class SettleCode(IntEnum):
    """What became of one outcome."""

    WRITTEN = 0
    REPLAY = 1
    FINAL = 2
    MOVED = 3
    WRONG_TYPE = 4


@dataclass(slots=True)
class Outcome:
    """How one run of a job ended.

    Attributes:
        entry: The delivery that ran.
        state: `succeeded`, `failed`, `expired`, or `retry`: not final, another run follows.
        value: The encoded result, or the encoded error.
        delay_ms: For `retry`: how long until it is due.
        cause: What the run failed with, for the worker's own judgement; it never travels.
    """

    entry: Entry
    state: Ending
    value: bytes
    delay_ms: int = 0
    cause: object = None

    @property
    def succeeded(self) -> bool:
        """Whether the value is a result."""
        return self.state == "succeeded"


@dataclass(frozen=True, slots=True)
class BatchFacts:
    """What the records of a batch's jobs share.

    Attributes:
        worker: Who ran it.
        batch: Its id.
        reason: Why it left when it did.
        size: How many jobs it had.
        started_ms: When it was claimed, by Redis's clock.
        waited_ms: How long its oldest job had waited then.
    """

    worker: str
    batch: str
    reason: str
    size: int
    started_ms: int
    waited_ms: int = 0


def settle(  # noqa: PLR0913 - what the script takes
    keys: QueueKeys,
    facts: BatchFacts,
    outcomes: Sequence[Outcome],
    *,
    ttl_ms: int,
    dead_max_length: int,
    close: bool = True,
    offer: tuple[str, str] | None = None,
) -> Call[list[SettleCode] | None]:
    """Write outcomes of a batch and acknowledge its entries; None: every one was written.

    `close=False` keeps the batch listed, because another call for it follows. `offer` is the
    name of an offer, and an id that joins it.
    """
    args: list[Arg] = [
        facts.worker,
        facts.batch,
        facts.reason,
        facts.size,
        facts.started_ms,
        ttl_ms,
        int(close),
        dead_max_length,
        facts.waited_ms,
        " ".join(offer) if offer else "",
    ]
    said: tuple[str, ...] | None = None
    group: list[Arg] = []
    for outcome in outcomes:
        entry = outcome.entry
        lane, _, entry_id = entry.token.partition(":")
        ending = f"{outcome.state} {entry.attempt}"
        if outcome.state == "retry":
            ending += f" {outcome.delay_ms}"
        elif entry.ttl_ms:
            ending += f" {entry.ttl_ms}"
        shared = (lane, entry.client, ending)
        if shared != said:
            args += _said(said, group)
            said, group = shared, []
        group += (entry.local, entry_id, outcome.value)
    args += _said(said, group)
    return Call(load("settle"), keys.prefix, args, _parse)


def _said(shared: tuple[str, ...] | None, group: list[Arg]) -> list[Arg]:
    return [] if shared is None else [*shared, len(group) // _WIDTH, *group]


def _parse(reply: Any) -> list[SettleCode] | None:
    return None if isinstance(reply, int) else [SettleCode(code) for code in reply]
