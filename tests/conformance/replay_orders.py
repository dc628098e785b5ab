"""The part of the table of `test_replay` that is about orders to workers, and the stages for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.conformance import replay_stages as stages
from tests.conformance.replay_table import Late, Row

from microbatch.common import scripts
from microbatch.common.orders import Order

if TYPE_CHECKING:
    from tests.conformance.bench import Bench

    from microbatch.common.scripts import Call

__all__ = ["ORDER_ROWS"]

TTL_MS = 60_000
QUIET = Order("o1", "quiet", {}, "me@here")


def _giving(bench: Bench) -> Call[Any]:
    return scripts.order(bench.keys, QUIET, ttl_ms=TTL_MS, workers=["w1", "nobody"])


async def to_order(bench: Bench) -> Call[Any]:
    await bench.beat("w1")
    return _giving(bench)


async def to_read_orders(bench: Bench) -> Call[Any]:
    await bench.run(await to_order(bench))
    return scripts.orders(bench.keys, "w1")


async def to_acknowledge(bench: Bench) -> Call[Any]:
    await bench.run(await to_order(bench))
    return scripts.acknowledge(bench.keys, "w1", "o1", b"done")


async def answer_it(bench: Bench) -> None:
    await bench.run(scripts.acknowledge(bench.keys, "w1", "o1", b"done"))


async def answer_otherwise(bench: Bench) -> None:
    await bench.run(scripts.acknowledge(bench.keys, "w1", "o1", b"refused"))


ORDER_ROWS = [
    Row(
        "order",
        to_order,
        [1, 0],
        [1, 0],
        {
            "after it was answered": Late(answer_it, [1, 0]),
            "delayed, after the worker left": Late(stages.leave_at_once, [0, 0], delayed=True),
        },
    ),
    Row(
        "orders",
        to_read_orders,
        [QUIET],
        [QUIET],
        {"after it was answered": Late(answer_it, [])},
    ),
    Row(
        "acknowledge",
        to_acknowledge,
        True,
        False,
        {"delayed, after another answer": Late(answer_otherwise, False, delayed=True)},
    ),
]
