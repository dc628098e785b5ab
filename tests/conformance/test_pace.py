"""pace, and claims that hold: what the fleet knows about durations, and waits that a worker decided on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from microbatch.common.scripts import Claimed, Hold, Idle, Watch, pace

if TYPE_CHECKING:
    from tests.conformance.bench import Bench

LONG_MS = 60_000.0
FOREVER_MS = 10**12


async def test_the_runs_of_all_workers_add_up(bench: Bench) -> None:
    assert await bench.run(pace(bench.keys, (2, 30, 12, 500, 200), half_life_ms=FOREVER_MS)) == [
        *(2, 30, 12, 500, 200)
    ]
    assert await bench.run(pace(bench.keys, (1, 5, 5.5, 25, 27.5), half_life_ms=FOREVER_MS)) == [
        *(3, 35, 17.5, 525, 227.5)
    ]


async def test_old_runs_count_less(bench: Bench) -> None:
    await bench.run(pace(bench.keys, (8, 8, 8, 8, 8), half_life_ms=1_000))
    key = bench.keys.pace
    await bench.raw.hset(key, "at_ms", str(await bench.now_ms() - 2_000))
    runs, *_ = await bench.run(pace(bench.keys, (0, 0, 0, 0, 0), half_life_ms=1_000))
    assert 1.5 < runs <= 2.0
    assert await bench.raw.pttl(key) > 0


async def test_a_clock_that_was_set_back_makes_no_run_count_more(bench: Bench) -> None:
    await bench.run(pace(bench.keys, (8, 8, 8, 8, 8), half_life_ms=1_000))
    await bench.raw.hset(bench.keys.pace, "at_ms", str(await bench.now_ms() + 60_000))
    runs, *_ = await bench.run(pace(bench.keys, (0, 0, 0, 0, 0), half_life_ms=1_000))
    assert runs == 8


async def test_what_an_operator_put_in_its_place_is_no_reason_to_fail(bench: Bench) -> None:
    await bench.raw.set(bench.keys.pace, "mine")
    assert await bench.run(pace(bench.keys, (1, 2, 3, 4, 6), half_life_ms=1_000)) == [1, 2, 3, 4, 6]


async def test_a_claim_holds_until_enough_jobs_are_there(bench: Bench) -> None:
    await bench.submit("a", "b")
    hold = Hold(3, 50)
    reply = await bench.claim("b1", size=10, wait_ms=LONG_MS, hold=hold)
    assert isinstance(reply, Watch)
    assert 0 < reply.wait_s <= 0.05
    await bench.submit("c")
    assert len(await bench.take("b1", size=10, wait_ms=LONG_MS, hold=hold)) == 3


async def test_the_third_job_wakes_the_worker_that_holds_for_three(bench: Bench) -> None:
    await bench.submit("a")
    await bench.claim("b1", size=10, wait_ms=LONG_MS, hold=Hold(3, 50))
    async with bench.listening(bench.keys.wake_channel("w1")) as worker:
        await bench.submit("b")
        assert await worker.all() == []
        await bench.submit("c")
        assert await worker.all() == [b"1"]


async def test_a_hold_takes_more_than_it_waited_for(bench: Bench) -> None:
    await bench.submit(*(f"j{n}" for n in range(8)))
    assert len(await bench.take("b1", size=10, wait_ms=LONG_MS, hold=Hold(3, 50))) == 8


async def test_nobody_holds_while_another_worker_is_idle(bench: Bench) -> None:
    assert await bench.claim("b0", "w2") == Idle()
    await bench.raw.delete(bench.keys.watcher)
    await bench.submit("a")
    await bench.raw.zadd(bench.keys.idle, {"w3": await bench.now_ms()})
    reply = await bench.claim("b1", size=10, wait_ms=LONG_MS, hold=Hold(3, 50))
    assert isinstance(reply, Claimed)


async def test_an_idle_worker_that_nobody_has_seen_for_long_ends_no_hold(bench: Bench) -> None:
    await bench.submit("a")
    await bench.raw.zadd(bench.keys.idle, {"w3": await bench.now_ms() - 60_000})
    reply = await bench.claim("b1", size=10, wait_ms=LONG_MS, hold=Hold(3, 50))
    assert isinstance(reply, Watch)


async def test_the_longest_wait_ends_a_hold_too(bench: Bench) -> None:
    await bench.put_old("a", age_ms=5_000)
    assert len(await bench.take("b1", size=10, wait_ms=4_000, hold=Hold(3, LONG_MS))) == 1
