"""The typed side of `purge.lua`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from microbatch.common.scripts.await_results import KEPT_MS
from microbatch.common.scripts.script import Call, load

if TYPE_CHECKING:
    from microbatch.common.keys import QueueKeys

__all__ = ["MOST_PURGED", "Purged", "purge"]

MOST_PURGED = 256


@dataclass(frozen=True, slots=True)
class Purged:
    """What one call did, and where the next one goes on.

    Attributes:
        before_ms: What came later stays.
        passed: The last scheduled job that was passed over: it came later, or is put ahead for a tick.
        cancelled: Jobs that were cancelled.
        more: Whether another call may find more.
    """

    before_ms: str = ""
    passed: str = ""
    cancelled: int = 0
    more: bool = True


def purge(keys: QueueKeys, last: Purged | None = None, *, most: int = MOST_PURGED) -> Call[Purged]:
    """Cancel some of what waits; `last` is what the call before it answered."""
    last = last or Purged()
    return Call(load("purge"), keys.prefix, (KEPT_MS, last.before_ms, last.passed, most), _parse)


def _parse(reply: Any) -> Purged:
    before_ms, passed, cancelled, more = reply
    return Purged(before_ms.decode(), passed.decode(), cancelled, more == 1)
