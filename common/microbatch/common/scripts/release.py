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
    keys: QueueKeys,
    worker: str,
    batch: str,
    *,
    ran: bool,
    lane: Literal["front", "solo"] = "front",
    is_crash: bool = False,
) -> Call[Released]:
    """Hand a batch back to the queue.

    `ran`: the processor had begun, so the attempt counts. `lane`: `solo` where each job is to run alone next.
    `is_crash`: it was one job, and the process that ran it has died: that counts against it.
    """
    args = (worker, batch, int(ran), lane, int(is_crash))
    return Call(load("release"), keys.prefix, args, _parse)


def _parse(reply: Any) -> Released:
    return Released(reply[0], reply[1])
