"""Turns: priorities, starving lanes, fairness between keys, and what 10,000 keys cost."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from tests.conformance.bench import Bench, job
from tests.conformance.engines import REAL
from tests.conformance.turns_model import Line

from microbatch.common.scripts import Claimed

if TYPE_CHECKING:
    from microbatch.common.jobs.entry import Entry

STARVED_MS = 31_000


async def starve(bench: Bench, lane: str) -> None:
    """Time passes for what waits in this lane."""
    past_ms = await bench.now_ms() - STARVED_MS
    for name in (bench.keys.lanes, bench.keys.forming, bench.keys.ageing):
        await bench.raw.zadd(name, {lane: past_ms}, xx=True)


async def end(bench: Bench, batch: str, entries: list[Entry]) -> list[str]:
    assert await bench.settle(batch, entries) is None
    return [entry.local for entry in entries]


async def flood(bench: Bench, n: int, key: str, size: int = 4, **options: int) -> None:
    await bench.submit(*(job(f"{key}{n}.{m}", batch_key=key, **options) for m in range(size)))


async def test_a_flood_of_high_priority_jobs_holds_a_lower_one_up_until_it_starves(bench: Bench) -> None:
    await bench.submit(job("low", priority=-5))
    for n in range(12):
        await bench.submit(*(job(f"j{n}.{m}", priority=9) for m in range(4)))
        if n == 8:
            await starve(bench, "-5/")
        locals_ = await end(bench, f"b{n}", await bench.take(f"b{n}", size=4))
        assert ("low" in locals_) == (n == 8)
        if "low" in locals_:
            assert len(locals_) == 4, "its batch was not filled up"
            break
    else:
        pytest.fail("it never left")


async def test_the_main_lane_starves_and_leaves_too(bench: Bench) -> None:
    await bench.submit(*(job(f"j{m}", priority=9) for m in range(8)))
    await bench.put_old("plain", STARVED_MS)
    assert (await end(bench, "b1", await bench.take("b1", size=4)))[0] == "plain"


async def test_starving_jobs_do_not_stop_the_others(bench: Bench) -> None:
    for m in range(40):
        await bench.put_old(f"low{m}", STARVED_MS, "-5/", priority="-5")
    await bench.status("low0")  # who asks brings the lane into the index
    await bench.submit(*(job(f"high{m}", priority=9) for m in range(40)))
    seen = [(await end(bench, f"b{n}", await bench.take(f"b{n}", size=4)))[0] for n in range(8)]
    assert {name[:3] for name in seen} == {"low", "hig"}
    assert 3 <= sum(name.startswith("low") for name in seen) <= 5


async def test_a_tenant_that_floods_its_key_delays_another_by_one_batch(bench: Bench) -> None:
    for n in range(25):
        await flood(bench, n, "flood")
    await end(bench, "b0", await bench.take("b0", size=4))
    await bench.submit(job("small", batch_key="small"))
    first = [(await end(bench, f"b{n}", await bench.take(f"b{n}", size=4)))[0] for n in range(1, 4)]
    assert "small" in first


async def test_plain_jobs_take_turns_with_keys(bench: Bench) -> None:
    await bench.submit(*(f"plain{n}" for n in range(40)))
    for n in range(10):
        await flood(bench, n, "key")
    seen = [(await end(bench, f"b{n}", await bench.take(f"b{n}", size=4)))[0][:3] for n in range(10)]
    assert 4 <= seen.count("key") <= 6


async def test_a_weight_is_a_share(bench: Bench) -> None:
    await bench.raw.hset(bench.keys.limits, "weight@big", "3")
    for n in range(20):
        await flood(bench, n, "big")
        await flood(bench, n, "small")
    seen = [(await end(bench, f"b{n}", await bench.take(f"b{n}", size=4)))[0][:3] for n in range(20)]
    assert 14 <= seen.count("big") <= 16


@pytest.mark.parametrize("seed", range(4))
async def test_lanes_take_turns_as_the_model_says(real_bench: Bench, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - repeatable
    keys = [f"k{n}" for n in range(5)]
    weights = {key: chance.choice([0.5, 1.0, 3.0]) for key in keys}
    await real_bench.raw.hset(
        real_bench.keys.limits, mapping={f"weight@{key}": str(weight) for key, weight in weights.items()}
    )
    line = Line(quantum=4, weights=weights)
    waiting = dict.fromkeys(keys, 0)
    await real_bench.submit(job("anchor", batch_key="anchor", priority=-100))  # lanes never all go
    for n in range(80):
        for key in chance.sample(keys, chance.randint(0, 3)):
            size = chance.randint(1, 6)
            await flood(real_bench, n, key, size)
            waiting[key] += size
        for key in sorted(keys):
            if waiting[key]:
                line.enter(key)
        expected = line.next()
        if expected is None:
            continue
        entries = await real_bench.take(f"b{n}", size=4)
        assert {entry.batch_key for entry in entries} == {expected}
        waiting[expected] -= len(entries)
        line.serve(expected, len(entries), has_more=waiting[expected] > 0)
        await real_bench.settle(f"b{n}", entries)


@pytest.mark.parametrize("real_bench", REAL[:1], indirect=True)  # it takes long
async def test_ten_thousand_keys_cost_a_claim_no_more(real_bench: Bench) -> None:
    batches = 0

    async def cost() -> int:
        """Commands of ten claims with their settles."""
        nonlocal batches
        await real_bench.raw.config_resetstat()
        for _ in range(10):
            batches += 1
            reply = await real_bench.claim(f"b{batches}", f"w{batches % 50}")
            if isinstance(reply, Claimed):
                await real_bench.settle(f"b{batches}", reply.entries, f"w{batches % 50}")
        stats = await real_bench.raw.info("commandstats")
        return sum(int(facts["calls"]) for name, facts in stats.items() if "eval" not in name)

    await real_bench.submit(*(job(f"a{n}", batch_key=f"few{n}") for n in range(100)))
    few = await cost()
    for at in range(0, 10_000, 200):
        jobs = [job(f"j{n}.{m}", batch_key=f"k{n}") for n in range(at, at + 200) for m in range(2)]
        await real_bench.submit(*jobs)
    while (await real_bench.raw.zcard(real_bench.keys.forming)) > 0:  # all of them stand in line
        await cost()
    many = await cost()
    assert many <= few * 1.5
    assert (await real_bench.queue()).waiting > 15_000


@pytest.mark.parametrize("real_bench", REAL[:1], indirect=True)
async def test_a_thousand_keys_leave_nothing_when_their_jobs_have_left(real_bench: Bench) -> None:
    jobs = [job(f"j{n}.{m}", batch_key=f"k{n}") for n in range(1_000) for m in range(2)]
    for at in range(0, len(jobs), 500):
        await real_bench.submit(*jobs[at : at + 500])

    batches = 0
    while isinstance(reply := await real_bench.claim(f"b{batches}", f"w{batches % 50}"), Claimed):
        await real_bench.settle(f"b{batches}", reply.entries, f"w{batches % 50}", ttl_ms=0)
        batches += 1

    assert batches == 1_000
    keys = real_bench.keys
    left = {key.decode() async for key in real_bench.raw.scan_iter(f"{keys.prefix}*")}
    left -= {keys.workers, keys.idle, keys.lane("main"), keys.side, keys.recent}
    assert {key for key in left if not key.startswith(keys.job(""))} == set()
    assert set(await real_bench.raw.hkeys(real_bench.keys.side)) <= {b"floor"}
