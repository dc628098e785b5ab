"""The typed side of `order.lua`."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Any

from microbatch.common.scripts.script import Call, load

if TYPE_CHECKING:
    from collections.abc import Sequence

    from microbatch.common.keys import QueueKeys
    from microbatch.common.orders import Order

__all__ = ["ORDER_MESSAGE", "OrderCode", "order"]

ORDER_MESSAGE = b"order"
"""What a worker hears on its wake channel when it was given an order: it had better beat now."""


class OrderCode(IntEnum):
    """What became of an order at one worker."""

    GIVEN = 1
    UNKNOWN = 0
    TOO_MANY = -1


def order(keys: QueueKeys, given: Order, *, ttl_ms: int, workers: Sequence[str]) -> Call[list[OrderCode]]:
    """Give an order to workers of the queue; it may be carried out for `ttl_ms` from now."""
    return Call(load("order"), keys.prefix, (given.id, given.text(), ttl_ms, *workers), _parse)


def _parse(reply: Any) -> list[OrderCode]:
    return [OrderCode(code) for code in reply]
