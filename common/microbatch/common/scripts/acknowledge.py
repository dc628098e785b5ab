"""The typed side of `acknowledge.lua`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from microbatch.common.scripts.script import Call, load

if TYPE_CHECKING:
    from microbatch.common.keys import QueueKeys

__all__ = ["ANSWER_KEPT_MS", "acknowledge"]

ANSWER_KEPT_MS = 60_000
"""For how long an answer can be read; nobody waits so long, and a repeated order must find it."""


def acknowledge(keys: QueueKeys, worker: str, order_id: str, answer: bytes) -> Call[bool]:
    """Answer an order; False where it was answered before, and the first answer stays."""
    return Call(load("acknowledge"), keys.prefix, (worker, order_id, answer, ANSWER_KEPT_MS), _parse)


def _parse(reply: Any) -> bool:
    return bool(reply == 1)
