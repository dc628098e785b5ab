"""The typed side of `redis_time.lua`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from microbatch.common.scripts.script import Call, load

if TYPE_CHECKING:
    from microbatch.common.keys import QueueKeys

__all__ = ["redis_time"]


def redis_time(keys: QueueKeys) -> Call[int]:
    """Milliseconds since 1970, by the clock of the queue's server."""
    return Call(load("redis_time"), keys.prefix, (), int)
