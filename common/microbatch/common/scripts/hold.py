"""The typed side of `hold.lua`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from microbatch.common.scripts.script import Call, load
from microbatch.common.stored_numbers import moment_of, number_of

if TYPE_CHECKING:
    from datetime import datetime

    from microbatch.common.keys import QueueKeys

__all__ = ["OPEN", "Held", "HoldAction", "QueueGate", "hold", "parse_held"]

HoldAction = Literal["pause", "drain", "resume"]


@dataclass(frozen=True, slots=True)
class Held:
    """Since when and by whom a queue is held up."""

    since: datetime
    who: str


@dataclass(frozen=True, slots=True)
class QueueGate:
    """What a queue lets through; None where it does as always.

    Attributes:
        paused: Nothing leaves it.
        draining: Nothing comes in.
    """

    paused: Held | None = None
    draining: Held | None = None


OPEN = QueueGate()


def hold(keys: QueueKeys, action: HoldAction, who: str) -> Call[QueueGate]:
    """Pause or drain a queue, or let it go again."""
    return Call(load("hold"), keys.prefix, (action, who), _parse)


def parse_held(word: bytes) -> Held | None:
    """Read a field of the gate; None where it is empty or somebody broke it."""
    since_ms, _, who = word.partition(b" ")
    since = moment_of(number_of(since_ms))
    return None if since is None else Held(since, who.decode("utf-8", "replace"))


def _parse(reply: Any) -> QueueGate:
    return QueueGate(*map(parse_held, reply))
