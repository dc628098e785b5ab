"""The typed side of `orders.lua`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from microbatch.common.orders import Order
from microbatch.common.scripts.script import Call, load

if TYPE_CHECKING:
    from microbatch.common.keys import QueueKeys

__all__ = ["orders", "read_orders"]


def orders(keys: QueueKeys, worker: str) -> Call[list[Order]]:
    """What a worker was ordered to do, the first given at the front; without a heartbeat."""
    return Call(load("orders"), keys.prefix, (worker,), read_orders)


def read_orders(flat: Any) -> list[Order]:
    """Orders from a flat list of ids and texts."""
    return [Order.read(order_id, text) for order_id, text in zip(flat[::2], flat[1::2], strict=True)]
