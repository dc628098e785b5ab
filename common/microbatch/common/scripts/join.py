"""The typed side of `join.lua`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from microbatch.common.limits import NO_LIMITS, BatchLimits
from microbatch.common.scripts.script import Call, load

if TYPE_CHECKING:
    from microbatch.common.keys import QueueKeys

__all__ = ["DeclaredLimits", "join"]


@dataclass(frozen=True, slots=True)
class DeclaredLimits:
    """What the worker that started before this one declared (empty: none), and an operator's limits."""

    max_batch_size: str
    max_wait_ms: str
    limits: BatchLimits = NO_LIMITS


def join(keys: QueueKeys, worker: str, *, max_batch_size: int, max_wait_ms: float) -> Call[DeclaredLimits]:
    """A worker arrives at a queue."""
    return Call(load("join"), keys.prefix, (worker, max_batch_size, f"{max_wait_ms:g}"), _parse)


def _parse(reply: Any) -> DeclaredLimits:
    size, wait_ms, *limits = reply
    return DeclaredLimits(size.decode(), wait_ms.decode(), BatchLimits.parse(*limits))
