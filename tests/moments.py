"""A moment of a queue, as its keys were: what a promoted replica shows that never had what came after.

Rule: it comes back in one step, times to live included; it knows nothing of what the keys mean.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import redis

    from microbatch.common.keys import QueueKeys

__all__ = ["Moment"]


class Moment:
    """The keys of a queue at the time when this was made."""

    def __init__(self, raw: redis.Redis, keys: QueueKeys) -> None:
        self._raw: Any = raw
        self._pattern = f"{keys.prefix}*"
        names = self._names()
        with self._raw.pipeline(transaction=True) as pipeline:
            for name in names:
                pipeline.dump(name)
                pipeline.pttl(name)
            found = pipeline.execute()
        rows = zip(names, found[::2], found[1::2], strict=True)
        self._kept = {name: (value, max(0, ttl_ms)) for name, value, ttl_ms in rows if value is not None}

    def comes_back(self) -> None:
        """What was written since then never was."""
        with self._raw.pipeline(transaction=True) as pipeline:
            for name in self._names():
                pipeline.delete(name)
            for name, (value, ttl_ms) in self._kept.items():
                pipeline.restore(name, ttl_ms, value, replace=True)
            pipeline.execute()

    def _names(self) -> list[bytes]:
        found: list[bytes] = self._raw.keys(self._pattern)
        return found
