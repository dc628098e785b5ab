"""Limits of an operator: rates by Redis's clock, shared by all workers; batches in flight over the fleet."""

from __future__ import annotations

import random

import pytest
from tests.conformance.bench import Bench, job
from tests.conformance.bucket_model import Bucket

from microbatch.common.scripts import Claimed, Watch


async def limit(bench: Bench, **limits: float | str) -> None:
    fields = {name.replace("_at_", "@"): str(value) for name, value in limits.items()}
    await bench.raw.hset(bench.keys.limits, mapping=fields)


async def pass_time(bench: Bench, name: str, by_s: float) -> None:
    """Time passes for a bucket."""
    left, at_us = (await bench.raw.get(bench.keys.bucket(name))).split()
    earlier_us = int(at_us) - int(by_s * 1_000_000)
    await bench.raw.set(bench.keys.bucket(name), b"%b %d" % (left, earlier_us))


async def took(bench: Bench, batch: str, worker: str = "w1", *, size: int = 32) -> int:
    """How many jobs a claim yields; 0 where it yields none."""
    reply = await bench.claim(batch, worker, size=size)
    return len(reply.entries) if isinstance(reply, Claimed) else 0


async def test_a_batch_shrinks_to_what_the_rate_leaves_and_all_workers_share_it(bench: Bench) -> None:
    await limit(bench, jobs_per_s=0.01, burst_s=500)  # five at once, then one each hundred seconds
    await bench.submit(*(f"j{n}" for n in range(20)))
    assert await took(bench, "b1", "w1", size=3) == 3
    assert await took(bench, "b2", "w2", size=3) == 2
    assert await took(bench, "b3", "w3", size=3) == 0
    await pass_time(bench, "jobs_per_s", 205)
    assert await took(bench, "b4", "w3", size=3) == 2
    assert await took(bench, "b5", "w1", size=3) == 0


async def test_a_worker_is_told_when_there_are_tokens_again(bench: Bench) -> None:
    await limit(bench, jobs_per_s=1.25, burst_s=3.2)
    await bench.submit(*(f"j{n}" for n in range(8)))
    assert await took(bench, "b1") == 4
    reply = await bench.claim("b2")
    assert isinstance(reply, Watch)
    assert 0 < reply.wait_s <= 0.8


async def test_submits_wake_nobody_while_a_rate_leaves_nothing(bench: Bench) -> None:
    await limit(bench, jobs_per_s=0.001)
    await bench.submit("a", "b")
    assert await took(bench, "b1", size=1) == 1
    assert isinstance(await bench.claim("b2", "w1"), Watch)
    async with bench.listening(bench.keys.wake_channel("w1")) as heard:
        await bench.submit(*(f"j{n}" for n in range(40)))
        assert await heard.all() == []


async def test_a_rate_of_batches(bench: Bench) -> None:
    await limit(bench, batches_per_s=0.001, burst_s=2000)
    await bench.submit(*(f"j{n}" for n in range(9)))
    assert [await took(bench, f"b{n}", size=3) for n in range(3)] == [3, 3, 0]


async def test_a_rate_of_cost_and_a_job_that_costs_more_than_the_bucket_holds(bench: Bench) -> None:
    await limit(bench, cost_per_s=0.01, burst_s=1000)  # ten at once
    await bench.submit(*(job(f"j{n}", cost=4) for n in range(3)), job("big", cost=50), job("last", cost=1))
    assert await took(bench, "b1") == 2
    assert await took(bench, "b2") == 0  # two are left, and four are needed
    await pass_time(bench, "cost_per_s", 200)
    assert await took(bench, "b3") == 1
    await pass_time(bench, "cost_per_s", 900)
    assert await took(bench, "b4") == 0  # nine are there; it goes when the bucket is full
    await pass_time(bench, "cost_per_s", 100)
    (entry,) = await bench.take("b5")
    assert entry.local == "big"
    await pass_time(bench, "cost_per_s", 4000)
    assert await took(bench, "b6") == 0  # the debt is paid, and no more
    await pass_time(bench, "cost_per_s", 100)
    assert await took(bench, "b7") == 1


async def test_a_key_that_used_up_its_rate_holds_no_other_key_up(bench: Bench) -> None:
    await limit(bench, **{"jobs_per_s@slow": 0.001, "jobs_per_s@*": 1000})
    await bench.submit(*(job(f"s{n}", batch_key="slow") for n in range(3)))
    await bench.submit(*(job(f"f{n}", batch_key="fast") for n in range(3)), "plain")
    seen = [sorted(entry.local for entry in await bench.take(f"b{n}")) for n in range(3)]
    assert sorted(seen) == [["f0", "f1", "f2"], ["plain"], ["s0"]]
    reply = await bench.claim("b9")
    assert isinstance(reply, Watch)
    await pass_time(bench, "jobs_per_s@slow", 1000)
    await bench.raw.zadd(bench.keys.held, {"0/slow": 0})
    assert [entry.local for entry in await bench.take("b10")] == ["s1"]


async def test_each_key_has_a_bucket_of_its_own_that_goes_when_it_is_full(bench: Bench) -> None:
    await limit(bench, **{"jobs_per_s@*": 50})
    await bench.submit(*(job(f"{key}{n}", batch_key=key) for key in "ab" for n in range(60)))
    assert {await took(bench, "b1", size=100), await took(bench, "b2", size=100)} == {50}
    for key in "ab":
        assert 0 < await bench.raw.pttl(bench.keys.bucket(f"jobs_per_s@{key}")) <= 1_010


async def test_the_fleet_runs_no_more_batches_than_allowed_and_the_dead_do_not_count_for_ever(
    bench: Bench,
) -> None:
    await limit(bench, max_concurrent_batches=2)
    await bench.submit(*(f"j{n}" for n in range(9)))
    first = await bench.take("b1", "w1", size=2)
    await bench.take("b2", "dead", size=2)
    assert await took(bench, "b3", "w3", size=2) == 0
    await bench.settle("b1", first, "w1")
    assert await took(bench, "b4", "w3", size=2) == 2
    assert await took(bench, "b5", "w1", size=2) == 0
    await bench.die("dead")
    await bench.takeover("dead", "w1")
    assert await took(bench, "b6", "w1", size=2) == 1  # a suspect, alone


async def test_a_claim_whose_reply_was_lost_pays_once(bench: Bench) -> None:
    await limit(bench, jobs_per_s=0.01, burst_s=400)
    await bench.submit("a", "b", "c", "d")
    assert await took(bench, "b1", size=2) == await took(bench, "b1", size=2) == 2
    assert await took(bench, "b2", size=4) == 2


async def test_a_limit_that_is_taken_away_holds_no_more(bench: Bench) -> None:
    await limit(bench, jobs_per_s=0.001)
    await bench.submit("a", "b")
    assert await took(bench, "b1", size=1) == 1
    assert await took(bench, "b2") == 0
    await bench.raw.delete(bench.keys.limits)
    assert await took(bench, "b2") == 1


@pytest.mark.parametrize("rate", ["jobs_per_s", "batches_per_s", "cost_per_s"])
async def test_a_rate_of_nothing_lets_nothing_go(bench: Bench, rate: str) -> None:
    await limit(bench, **{rate: 0})
    await bench.submit("a", "b")
    assert await took(bench, "b1") == 0
    await bench.raw.delete(bench.keys.limits)
    assert await took(bench, "b1") == 2


@pytest.mark.parametrize("seed", range(4))
async def test_buckets_leave_what_the_model_leaves(real_bench: Bench, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - repeatable
    rate = 0.001  # what passes while the test runs is next to nothing
    burst_s = chance.choice([500, 3_000, 12_000])
    await limit(real_bench, jobs_per_s=rate, burst_s=burst_s)
    bucket = Bucket(rate, max(1.0, rate * burst_s))
    await real_bench.submit(*(f"j{n}" for n in range(200)))
    spent = False
    for n in range(40):
        passed_s = chance.choice([0, 150, 1_000, 2_600, 30_000])
        if spent and await real_bench.raw.exists(real_bench.keys.bucket("jobs_per_s")):
            await pass_time(real_bench, "jobs_per_s", passed_s)
        bucket.wait(passed_s)
        size = chance.randint(1, 6)
        jobs = min(size, bucket.whole)
        assert await took(real_bench, f"b{n}", size=size) == jobs
        if jobs:
            bucket.spend(jobs)
            spent = True


@pytest.mark.parametrize("value", ["oops", "-1", "nan", "inf", ""])
async def test_a_limit_that_is_none_is_none(bench: Bench, value: str) -> None:
    await limit(bench, jobs_per_s=value, max_concurrent_batches="oops", burst_s=value)
    await bench.submit("a", "b")
    assert await took(bench, "b1") == 2


async def test_limits_that_something_else_overwrote_hold_nothing_up(bench: Bench) -> None:
    await bench.raw.set(bench.keys.limits, "oops")
    await bench.submit("a", job("b", batch_key="k"))
    assert await took(bench, "b1") == await took(bench, "b2") == 1
