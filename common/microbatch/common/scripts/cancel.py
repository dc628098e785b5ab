"""The typed side of `cancel.lua`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from microbatch.common.scripts.script import Call, load

if TYPE_CHECKING:
    from microbatch.common.keys import QueueKeys

__all__ = ["CANCEL_MESSAGE", "cancel"]

CANCEL_MESSAGE = b"cancel "
"""What a worker's wake channel carries before the token of a job that was cancelled under it."""


def cancel(keys: QueueKeys, local: str, *, ttl_ms: int) -> Call[str]:
    """Make a job final at once; the answer is its state afterwards, or `unknown` or `foreign`."""
    return Call(load("cancel"), keys.prefix, (local, ttl_ms), _parse)


def _parse(reply: Any) -> str:
    return str(reply.decode("utf-8", "replace"))
