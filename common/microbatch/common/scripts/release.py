"""The typed side of `release.lua`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from microbatch.common.scripts.script import Call, load

if TYPE_CHECKING:
    from microbatch.common.keys import QueueKeys

__all__ = ["Released", "release"]


@dataclass(frozen=True, slots=True)
class Released:
    """Jobs that went back in this call, and jobs that need another call."""

    moved: int
    left: int


def release(
    keys: QueueKeys, worker: str, batch: str, *, ran: bool, lane: Literal["front", "solo"] = "front"
) -> Call[Released]:
    """Hand a batch back to the queue.

    `ran`: the processor had begun, so the attempt counts. `lane`: `solo` where each job is to run alone next.
    """
    return Call(load("release"), keys.prefix, (worker, batch, int(ran), lane), _parse)


def _parse(reply: Any) -> Released:
    return Released(reply[0], reply[1])
