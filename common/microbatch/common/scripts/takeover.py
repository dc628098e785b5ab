"""The typed side of `takeover.lua`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from microbatch.common.codec import encode_error
from microbatch.common.scripts.script import Call, load

if TYPE_CHECKING:
    from microbatch.common.keys import QueueKeys

__all__ = ["CrashTerms", "TakenOver", "takeover"]


@dataclass(frozen=True, slots=True)
class TakenOver:
    """Jobs moved to `solo`, jobs failed with WorkerLost, jobs that need another call.

    `moved` is -1 where the worker has beaten again, and nothing was done.
    """

    moved: int
    failed: int
    left: int


@dataclass(frozen=True, slots=True)
class CrashTerms:
    """How often a job may crash, how long its failure is kept, how many dead letters there may be."""

    max_crashes: int
    ttl_ms: int
    dead_max_length: int


def takeover(
    keys: QueueKeys, worker: str, dead: str, *, heartbeat_limit_ms: int, terms: CrashTerms
) -> Call[TakenOver]:
    """Give the jobs of a dead worker to the living."""
    lost = encode_error("WorkerLost", f"its worker died {terms.max_crashes} times while it ran alone")
    args = (worker, dead, heartbeat_limit_ms, terms.max_crashes, lost, terms.ttl_ms, terms.dead_max_length)
    return Call(load("takeover"), keys.prefix, args, _parse)


def _parse(reply: Any) -> TakenOver:
    return TakenOver(*reply)
