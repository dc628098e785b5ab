"""The typed side of `heartbeat.lua`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from microbatch.common.scripts.script import Arg, Call, load

if TYPE_CHECKING:
    from collections.abc import Iterable

    from microbatch.common.keys import QueueKeys

__all__ = ["Look", "heartbeat"]


@dataclass(frozen=True, slots=True)
class Look:
    """What a heartbeat saw: unwatched work, own batches that no slot runs, workers without heartbeat."""

    work_waits: bool
    orphans: list[str]
    dead: list[str]


def heartbeat(
    keys: QueueKeys,
    worker: str,
    running: Iterable[str],
    *,
    heartbeat_limit_ms: int,
    stale_claim_ms: int,
    idle: bool,
) -> Call[Look]:
    """Say that this worker lives, and look around."""
    args: list[Arg] = [worker, heartbeat_limit_ms, stale_claim_ms, int(idle), *running]
    return Call(load("heartbeat"), keys.prefix, args, _parse)


def _parse(reply: Any) -> Look:
    return Look(reply[0] == 1, [name.decode() for name in reply[1]], [name.decode() for name in reply[2]])
