"""The typed side of `cancel.lua`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from microbatch.common.scripts.script import Call, load

if TYPE_CHECKING:
    from collections.abc import Sequence

    from microbatch.common.keys import QueueKeys

__all__ = ["CANCEL_MESSAGE", "MOST_CANCELLED", "cancel", "cancel_all"]

MOST_CANCELLED = 64
"""In one call: each may have a payload of the largest size."""

CANCEL_MESSAGE = b"cancel "
"""What a worker's wake channel carries before the token of a job that was cancelled under it."""


def cancel(keys: QueueKeys, local: str, *, ttl_ms: int) -> Call[str]:
    """Make a job final at once; the answer is its state afterwards, or `unknown` or `foreign`."""
    return Call(load("cancel"), keys.prefix, (ttl_ms, local), lambda reply: _parse(reply)[0])


def cancel_all(keys: QueueKeys, locals_: Sequence[str], *, ttl_ms: int) -> Call[list[str]]:
    """The same for some jobs, at most `MOST_CANCELLED`."""
    return Call(load("cancel"), keys.prefix, (ttl_ms, *locals_), _parse)


def _parse(reply: Any) -> list[str]:
    return [str(state.decode("utf-8", "replace")) for state in reply]
