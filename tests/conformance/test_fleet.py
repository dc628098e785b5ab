"""`fleet`: who works for a queue and what each holds, on every engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.conformance.bench import LONG_MS

from microbatch.common import scripts
from microbatch.common.orders import Order
from microbatch.common.scripts import OrderCode
from microbatch.common.worker_facts import WorkerFacts

if TYPE_CHECKING:
    from tests.conformance.bench import Bench

    from microbatch.common.scripts import WorkerSight


async def look(bench: Bench, limit: int = 100) -> dict[str, WorkerSight]:
    fleet = await bench.run(scripts.fleet(bench.keys, limit=limit))
    return {sight.worker: sight for sight in fleet.workers}


async def test_of_an_unused_queue_nobody_is_seen_and_nothing_is_left(bench: Bench) -> None:
    assert await look(bench) == {}
    assert await bench.raw.dbsize() == 0


async def test_each_worker_is_seen_with_what_it_holds(bench: Bench) -> None:
    await bench.submit("a", "b", "c", "d")
    await bench.take("b1", size=2)
    await bench.take("b2", size=1)
    await bench.take("b3", "w2", size=1)
    seen = await look(bench)
    held = {worker: (sight.batches, sight.jobs, sight.doing) for worker, sight in seen.items()}
    assert held == {"w1": (2, 3, ""), "w2": (1, 1, "")}
    assert all(0 <= sight.silent_s < 60 for sight in seen.values())


async def test_who_waits_for_a_batch_to_fill_watches_and_who_found_nothing_is_idle(bench: Bench) -> None:
    await bench.submit("a")
    for worker in ("w1", "w2"):
        await bench.beat(worker)
        await bench.claim("b" + worker, worker, size=9, wait_ms=LONG_MS)
    assert {worker: sight.doing for worker, sight in (await look(bench)).items()} == {
        "w1": "watching",
        "w2": "idle",
    }


async def test_of_many_workers_those_that_beat_last_are_seen(bench: Bench) -> None:
    for worker in ("w1", "w2", "w3"):
        await bench.beat(worker)
    await bench.die("w2")
    assert set(await look(bench, limit=2)) == {"w1", "w3"}
    assert (await look(bench))["w2"].silent_s > 1


async def test_a_worker_is_seen_with_what_it_says_about_itself_until_it_leaves_or_is_taken_over(
    bench: Bench,
) -> None:
    facts = WorkerFacts("1.2", "quiet", 4, ("gpu", "eu"))
    for worker in ("w1", "w2"):
        await bench.beat(worker, about=facts.text())
    await bench.beat("w3")
    assert {worker: sight.facts for worker, sight in (await look(bench)).items()} == {
        "w1": facts,
        "w2": facts,
        "w3": WorkerFacts(),
    }

    await bench.step_aside("w1", leaving=True)
    await bench.die("w2")
    await bench.takeover("w2")
    assert not await bench.raw.exists(bench.keys.about)


async def test_what_nobody_says_any_more_goes_and_who_lives_says_it_again(bench: Bench) -> None:
    await bench.raw.hset(bench.keys.about, mapping={f"gone{n}": "version=1" for n in range(9)})
    await bench.beat("w1", about="version=2", thorough=True)
    assert await bench.raw.hgetall(bench.keys.about) == {b"w1": b"version=2"}


async def lose(bench: Bench, worker: str, about: str = "") -> None:
    """The worker has fallen silent and its jobs are taken over."""
    await bench.beat(worker, about=about)
    await bench.die(worker)
    await bench.takeover(worker)


async def test_who_was_taken_over_is_lost_and_stuck_while_it_asks_for_orders(bench: Bench) -> None:
    facts = WorkerFacts("1.2", "", 4, ("gpu",))
    await bench.submit("a")
    await bench.take("b1")
    await lose(bench, "w1", facts.text())
    sight = (await look(bench))["w1"]
    assert (sight.doing, sight.jobs, sight.facts) == ("lost", 0, facts)
    assert sight.silent_s > 1
    assert (await bench.queue()).workers == 0
    assert await bench.run(scripts.orders(bench.keys, "w1")) == []
    assert (await look(bench))["w1"].doing == "stuck"
    assert 0 < await bench.raw.pttl(bench.keys.lost) <= 600_000


async def test_who_was_lost_is_not_any_more_once_it_beats_or_leaves(bench: Bench) -> None:
    for worker in ("w1", "w2"):
        await lose(bench, worker)
    await bench.beat("w1")
    await bench.step_aside("w2", leaving=True)
    assert {worker: sight.doing for worker, sight in (await look(bench)).items()} == {"w1": ""}
    assert not await bench.raw.exists(bench.keys.lost)


async def test_an_order_reaches_who_was_taken_over_and_not_who_was_never_there(bench: Bench) -> None:
    await lose(bench, "w1")
    order = Order("o1", "dump", {}, "me@here")
    codes = await bench.run(scripts.order(bench.keys, order, ttl_ms=60_000, workers=["w1", "w2"]))
    assert codes == [OrderCode.GIVEN, OrderCode.UNKNOWN]
    assert await bench.run(scripts.orders(bench.keys, "w1")) == [order]


async def test_the_lost_are_bounded_in_number_and_time(bench: Bench) -> None:
    old = await bench.now_ms() - 601_000
    await bench.raw.hset(bench.keys.lost, mapping={"old": f"{old} {old} ", "garbage": "x"})
    for number in range(66):
        await lose(bench, f"w{number:02}")
    seen = await look(bench, limit=100)
    assert set(seen) == set(await lost_names(bench))
    assert len(seen) == 64
    assert "w65" in seen


async def lost_names(bench: Bench) -> list[str]:
    return [name.decode() for name in await bench.raw.hkeys(bench.keys.lost)]


async def test_a_lost_key_that_is_something_else_stops_nothing(bench: Bench) -> None:
    await bench.raw.set(bench.keys.lost, "foreign")
    await lose(bench, "w1")
    assert await look(bench) == {}
    assert await bench.run(scripts.orders(bench.keys, "w1")) == []
    await bench.beat("w1", thorough=True)
    assert await bench.raw.get(bench.keys.aside("lost")) == b"foreign"


async def test_keys_that_something_else_overwrote_hold_nothing(bench: Bench) -> None:
    await bench.submit("a")
    await bench.take("b1")
    for name in ("batches:w1", "idle", "watcher", "about"):
        await bench.raw.delete(bench.keys.prefix + name)
        await bench.raw.lpush(bench.keys.prefix + name, "ours now")
    sight = (await look(bench))["w1"]
    assert (sight.batches, sight.jobs, sight.doing, sight.facts) == (0, 0, "", WorkerFacts())
    await bench.raw.set(bench.keys.prefix + "workers", "ours now")
    assert await look(bench) == {}
