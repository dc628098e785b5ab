"""The typed side of `takeover.lua`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from microbatch.common.codec import encode_error
from microbatch.common.scripts.script import Call, load

if TYPE_CHECKING:
    from microbatch.common.keys import QueueKeys

__all__ = ["TakenOver", "takeover"]


@dataclass(frozen=True, slots=True)
class TakenOver:
    """Jobs moved to `solo`, jobs failed with WorkerLost, jobs that need another call.

    `moved` is -1 where the worker has beaten again, and nothing was done.
    """

    moved: int
    failed: int
    left: int


def takeover(
    keys: QueueKeys, worker: str, dead: str, *, heartbeat_limit_ms: int, max_crashes: int, ttl_ms: int
) -> Call[TakenOver]:
    """Give the jobs of a dead worker to the living."""
    lost = encode_error("WorkerLost", f"its worker died {max_crashes} times while it ran alone")
    args = (worker, dead, heartbeat_limit_ms, max_crashes, lost, ttl_ms)
    return Call(load("takeover"), keys.prefix, args, _parse)


def _parse(reply: Any) -> TakenOver:
    return TakenOver(*reply)
