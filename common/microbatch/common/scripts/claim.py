"""The typed side of `claim.lua`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import repeat
from typing import TYPE_CHECKING, Any, NamedTuple

from microbatch.common.errors import ProtocolError
from microbatch.common.jobs.entry import Entry, parse_entry, parse_plain
from microbatch.common.netstrings import read_netstrings
from microbatch.common.scripts.script import Arg, Call, load

if TYPE_CHECKING:
    from microbatch.common.keys import QueueKeys

__all__ = [
    "HANDED_MESSAGE",
    "BatchTerms",
    "ClaimReply",
    "Claimed",
    "Hold",
    "Idle",
    "Watch",
    "claim",
    "read_handed",
]

HANDED_MESSAGE = b"handed "
"""What a worker's wake channel carries before a batch that a submit claimed for it."""

STARVATION_S = 30.0


class BatchTerms(NamedTuple):
    """What a worker says of its batches besides their size; a default costs nothing.

    Attributes:
        max_starvation_s: How long a lower priority may be passed over.
        max_bytes: The most payload bytes of a batch of several jobs; None: no budget.
        max_cost: The most cost of a batch of several jobs; None: no budget.
    """

    max_starvation_s: float = STARVATION_S
    max_bytes: int | None = None
    max_cost: int | None = None

    def encoded(self) -> str:
        """As the script reads them: `name=number` words."""
        starvation_ms = None if self.max_starvation_s == STARVATION_S else int(self.max_starvation_s * 1000)
        said = {"starvation_ms": starvation_ms, "bytes": self.max_bytes, "cost": self.max_cost}
        words = [f"{name}={number}" for name, number in said.items() if number is not None]
        return " ".join(words)


DEFAULT_TERMS = BatchTerms()


@dataclass(frozen=True, slots=True)
class Claimed:
    """A batch that this worker holds now.

    Attributes:
        reason: Why it was closed.
        claimed_ms: When, by Redis's clock.
        entries: Its jobs.
        most: How many were asked for.
        is_last: Whether nothing else waits, and Redis knows this worker as idle for its further slot.
    """

    reason: str
    claimed_ms: int
    entries: list[Entry]
    most: int
    is_last: bool = False


@dataclass(frozen=True, slots=True)
class Watch:
    """Nothing is due: this worker waits for the batch to fill, and looks again after `wait_s`."""

    wait_s: float


@dataclass(frozen=True, slots=True)
class Idle:
    """Nothing waits, or another worker watches: sleep until woken."""


@dataclass(frozen=True, slots=True)
class Hold:
    """How long to wait for company: until `fill` jobs are there, `hold_ms` from now, or somebody is idle."""

    fill: int
    hold_ms: float


ClaimReply = Claimed | Watch | Idle
_IDLE = Idle()


def claim(  # noqa: PLR0913 - what the script takes
    keys: QueueKeys,
    worker: str,
    batch: str,
    *,
    max_batch_size: int,
    max_wait_ms: float,
    max_batch_bytes: int,
    spare: str = "",
    offers: str = "",
    terms: BatchTerms = DEFAULT_TERMS,
    hold: Hold | None = None,
) -> Call[ClaimReply]:
    """Take one batch for a free slot, or learn how long to wait.

    `spare` is the id of the next batch where one more slot is free. Where `offers` is not empty, submits may
    claim for the worker while it is idle, under these ids: only for batches that neither wait nor have a
    budget. It names the offer; no other one of this worker may have that name.
    """
    wait_us = int(max_wait_ms * 1000)
    args: list[Arg] = [worker, batch, max_batch_size, wait_us, max_batch_bytes, spare, offers]
    said = terms.encoded()
    if said or hold is not None:
        args.append(said)
    if hold is not None:
        args += [hold.fill, int(hold.hold_ms * 1000)]
    return Call(load("claim"), keys.prefix, args, partial(_parse, max_batch_size))


def read_handed(message: bytes, most: int) -> tuple[str, Claimed]:
    """Read what comes after `HANDED_MESSAGE`: a batch's id, and the batch.

    Raises:
        ProtocolError: No script wrote it.
    """
    try:
        batch, reason, claimed_ms, *jobs = read_netstrings(message)
        rows = zip(jobs[::4], jobs[1::4], jobs[2::4], jobs[3::4], strict=True)
        entries = [parse_plain("main", *row) for row in rows]
        return batch.decode("ascii"), Claimed(reason.decode("ascii"), int(claimed_ms), entries, most)
    except ValueError as error:
        raise ProtocolError("a message that should hand a batch over holds something else") from error


def _parse(most: int, reply: Any) -> ClaimReply:
    kind = reply[0]
    if kind == b"idle":
        return _IDLE
    if kind == b"watch":
        return Watch(reply[1] / 1_000_000)
    entries: list[Entry] = []
    for index in range(3, len(reply), 3):
        lane, plain, others = reply[index].decode(), reply[index + 1], reply[index + 2]
        entries += map(parse_plain, repeat(lane), plain[::4], plain[1::4], plain[2::4], plain[3::4])
        entries += [parse_entry(lane, entry_id, fields) for entry_id, fields in others]
    return Claimed(reply[1].decode(), reply[2], entries, most, kind == b"last")
