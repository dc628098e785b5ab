"""The typed side of `listen.lua`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from microbatch.common.scripts.script import Call, load

if TYPE_CHECKING:
    from collections.abc import Iterable

    from microbatch.common.keys import QueueKeys

__all__ = ["EVERYTHING", "LEASE_MS", "listen"]

EVERYTHING = "*"
"""The subject that stands for all jobs of a queue."""
LEASE_MS = 15_000


def listen(keys: QueueKeys, subjects: Iterable[str], *, lease_ms: int = LEASE_MS) -> Call[int]:
    """Say that somebody listens to these jobs, by their local ids, or to `EVERYTHING`."""
    return Call(load("listen"), keys.prefix, (lease_ms, *subjects), _parse)


def _parse(reply: Any) -> int:
    return int(reply)
