"""The typed side of `heartbeat.lua`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from microbatch.common.limits import NO_LIMITS, BatchLimits
from microbatch.common.scripts.orders import read_orders
from microbatch.common.scripts.script import Arg, Call, load

if TYPE_CHECKING:
    from collections.abc import Iterable

    from microbatch.common.keys import QueueKeys
    from microbatch.common.orders import Order

__all__ = ["Look", "heartbeat"]


@dataclass(frozen=True, slots=True)
class Look:
    """What a heartbeat saw.

    Attributes:
        work_waits: Whether there is work that nobody watches.
        orphans: Own batches that no slot runs.
        dead: Workers without heartbeat.
        next_dead_s: Seconds until another worker counts as dead unless it beats; None: there is no other.
        aside: Keys of the queue, by their last part, that held something else and were set aside.
        schedules_wait: Whether a schedule wants to be looked at.
        limits: What an operator says about batches.
        orders: What operators ordered this worker to do, the first given at the front.
    """

    work_waits: bool
    orphans: list[str]
    dead: list[str]
    next_dead_s: float | None = None
    aside: tuple[str, ...] = ()
    schedules_wait: bool = False
    limits: BatchLimits = NO_LIMITS
    orders: tuple[Order, ...] = ()


def heartbeat(  # noqa: PLR0913 - all but three by name
    keys: QueueKeys,
    worker: str,
    running: Iterable[str],
    *,
    heartbeat_limit_ms: int,
    stale_claim_ms: int,
    idle: bool,
    thorough: bool = False,
    about: str = "",
) -> Call[Look]:
    """Say that this worker lives, and `about` itself what others may know; and look around."""
    options = (heartbeat_limit_ms, stale_claim_ms, int(idle), int(thorough), about)
    args: list[Arg] = [worker, *options, *running]
    return Call(load("heartbeat"), keys.prefix, args, _parse)


def _parse(reply: Any) -> Look:
    waits, orphans, dead, next_dead_ms, aside, ticks, *limits, orders = reply
    return Look(
        waits == 1,
        [name.decode() for name in orphans],
        [name.decode() for name in dead],
        None if next_dead_ms < 0 else next_dead_ms / 1000,
        tuple(sorted(name.decode() for name in aside)),
        ticks == 1,
        BatchLimits.parse(*limits),
        tuple(read_orders(orders)),
    )
