"""Orders: who is handed them, for how long, and what is made of what nobody of ours wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from microbatch.common.orders import Order
from microbatch.common.scripts import ORDER_MESSAGE, OrderCode, acknowledge, order, orders

if TYPE_CHECKING:
    from tests.conformance.bench import Bench

TTL_MS = 60_000


def an_order(order_id: str = "o1", name: str = "quiet", **values: str) -> Order:
    return Order(order_id, name, values, "me@here")


async def give(bench: Bench, given: Order, *workers: str, ttl_ms: int = TTL_MS) -> list[OrderCode]:
    return await bench.run(order(bench.keys, given, ttl_ms=ttl_ms, workers=workers or ["w1"]))


async def test_an_order_comes_with_each_beat_until_it_is_answered(bench: Bench) -> None:
    await bench.beat("w1")
    await bench.beat("w2")
    given = an_order("o1", "resize", concurrency="4")
    assert await give(bench, given) == [OrderCode.GIVEN]

    for _ in range(2):
        assert (await bench.beat("w1")).orders == (given,)
        assert await bench.run(orders(bench.keys, "w1")) == [given]
    assert (await bench.beat("w2")).orders == ()

    assert await bench.run(acknowledge(bench.keys, "w1", "o1", b"done"))
    assert (await bench.beat("w1")).orders == ()
    assert await bench.raw.hgetall(bench.keys.acks("o1")) == {b"w1": b"done"}
    assert 0 < await bench.raw.pttl(bench.keys.acks("o1")) <= 60_000
    assert not await bench.raw.exists(bench.keys.orders("w1"))


async def test_the_worker_is_told_to_look_at_once(bench: Bench) -> None:
    await bench.beat("w1")
    async with bench.listening(bench.keys.wake_channel("w1")) as heard:
        await give(bench, an_order())
        assert await heard.all() == [ORDER_MESSAGE]


async def test_orders_come_in_the_order_in_which_they_were_given(bench: Bench) -> None:
    await bench.beat("w1")
    names = ("zz", "aa", "mm")
    for at, name in enumerate(names):
        await give(bench, an_order(name))
        written = await bench.raw.hget(bench.keys.orders("w1"), name)
        await bench.raw.hset(bench.keys.orders("w1"), name, b"%d %s" % (at, written.partition(b" ")[2]))
    assert [each.id for each in (await bench.beat("w1")).orders] == list(names)


async def test_who_is_not_there_is_given_nothing(bench: Bench) -> None:
    await bench.beat("w1")
    assert await give(bench, an_order(), "w1", "nobody") == [OrderCode.GIVEN, OrderCode.UNKNOWN]
    assert not await bench.raw.exists(bench.keys.orders("nobody"))


async def test_a_repeated_order_changes_nothing_and_one_that_was_answered_does_not_come_back(
    bench: Bench,
) -> None:
    await bench.beat("w1")
    await give(bench, an_order("o1", "quiet"))
    assert await give(bench, an_order("o1", "resume")) == [OrderCode.GIVEN]
    assert [each.name for each in (await bench.beat("w1")).orders] == ["quiet"]
    await bench.run(acknowledge(bench.keys, "w1", "o1", b"first"))
    assert await give(bench, an_order("o1")) == [OrderCode.GIVEN]
    assert (await bench.beat("w1")).orders == ()
    assert not await bench.run(acknowledge(bench.keys, "w1", "o1", b"second"))
    assert await bench.raw.hget(bench.keys.acks("o1"), "w1") == b"first"


async def test_an_order_that_is_too_late_is_not_handed_out(bench: Bench) -> None:
    await bench.beat("w1")
    await give(bench, an_order("late"))
    await give(bench, an_order("good"))
    key = bench.keys.orders("w1")
    await bench.raw.hset(key, "late", b"%d %d quiet\nme" % (0, await bench.now_ms() - 1))
    assert [each.id for each in (await bench.beat("w1")).orders] == ["good"]
    assert await bench.raw.hkeys(key) == [b"good"]


async def test_orders_go_by_themselves_when_the_last_is_too_late(bench: Bench) -> None:
    await bench.beat("w1")
    await give(bench, an_order("o1"), ttl_ms=90_000)
    await give(bench, an_order("o2"), ttl_ms=1_000)
    assert 60_000 < await bench.raw.pttl(bench.keys.orders("w1")) <= 90_000


async def test_a_worker_has_64_orders_at_most(bench: Bench) -> None:
    await bench.beat("w1")
    for number in range(64):
        assert await give(bench, an_order(f"o{number}")) == [OrderCode.GIVEN]
    assert await give(bench, an_order("one-more".replace("-", ""))) == [OrderCode.TOO_MANY]
    assert await give(bench, an_order("o63")) == [OrderCode.GIVEN]
    assert len((await bench.beat("w1")).orders) == 64


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("o1", b""),
        ("o1", b"quiet"),
        ("o1", b"1 2"),
        ("o1", b"-1 99999999999999 quiet"),
        ("o1", b"1 99999999999999 " + b"x" * 3_000),
        ("o" * 65, b"1 99999999999999 quiet"),
        ("o 1", b"1 99999999999999 quiet"),
        (b"\xff\x00", b"1 99999999999999 quiet"),
    ],
)
async def test_what_is_no_order_is_deleted_and_the_beat_goes_on(
    bench: Bench, name: str | bytes, value: bytes
) -> None:
    await bench.beat("w1")
    await give(bench, an_order("good"))
    await bench.raw.hset(bench.keys.orders("w1"), name, value)
    assert [each.id for each in (await bench.beat("w1")).orders] == ["good"]
    assert await bench.raw.hkeys(bench.keys.orders("w1")) == [b"good"]


async def test_words_that_are_no_text_are_an_order_that_nobody_carries_out(bench: Bench) -> None:
    await bench.raw.hset(bench.keys.orders("w1"), "o1", b"1 99999999999999 \xff\xfe=\xff\n\xff")
    (read,) = (await bench.beat("w1")).orders
    assert read.id == "o1"
    assert read.name not in {"quiet", "stop"}


async def test_a_key_of_orders_that_is_none_or_holds_too_many_goes(bench: Bench) -> None:
    key = bench.keys.orders("w1")
    await bench.raw.set(key, "oops")
    assert (await bench.beat("w1")).orders == ()
    assert not await bench.raw.exists(key)
    await bench.raw.hset(key, mapping={f"o{n}": "1 99999999999999 quiet" for n in range(65)})
    assert (await bench.beat("w1")).orders == ()
    assert not await bench.raw.exists(key)
    await bench.raw.rpush(key, "oops")
    assert await give(bench, an_order()) == [OrderCode.GIVEN]
    assert len((await bench.beat("w1")).orders) == 1


async def test_answers_are_written_over_what_something_else_wrote_there(bench: Bench) -> None:
    await bench.beat("w1")
    await bench.raw.set(bench.keys.acks("o1"), "oops")
    assert await give(bench, an_order()) == [OrderCode.GIVEN]
    assert await bench.run(acknowledge(bench.keys, "w1", "o1", b"done"))
    assert await bench.raw.hgetall(bench.keys.acks("o1")) == {b"w1": b"done"}


async def test_a_full_server_lets_orders_and_answers_through(real_bench: Bench) -> None:
    await real_bench.beat("w1")
    await real_bench.raw.config_set("maxmemory", 1)
    assert await give(real_bench, an_order()) == [OrderCode.GIVEN]
    assert len((await real_bench.beat("w1", about="version=1")).orders) == 1
    assert await real_bench.run(acknowledge(real_bench.keys, "w1", "o1", b"done"))
