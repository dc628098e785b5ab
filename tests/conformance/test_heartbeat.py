"""heartbeat and join: who lives, what it forgot, whom nobody hears of any more, and whether work waits."""

from __future__ import annotations

from tests.conformance.bench import LIMIT_MS, LONG_MS, Bench

from microbatch.common.scripts import join
from microbatch.common.scripts.join import DeclaredLimits


async def test_a_heartbeat_is_the_servers_time(bench: Bench) -> None:
    await bench.beat("w1")
    beat = await bench.raw.zscore(bench.keys.workers, "w1")
    assert abs(beat - await bench.now_ms()) < 10_000


async def test_a_batch_that_the_worker_does_not_run_is_an_orphan_once_it_is_old(bench: Bench) -> None:
    await bench.submit("a", "b")
    await bench.take("b1", size=1)
    await bench.take("b2", size=1)
    assert (await bench.beat("w1", "b2", stale_claim_ms=5_000)).orphans == []
    assert (await bench.beat("w1", "b2", stale_claim_ms=-1)).orphans == ["b1"]
    assert (await bench.beat("w1", "b1", "b2", stale_claim_ms=-1)).orphans == []


async def test_an_orphan_can_be_handed_back(bench: Bench) -> None:
    await bench.submit("a")
    await bench.take("b1")
    (orphan,) = (await bench.beat("w1", stale_claim_ms=-1)).orphans
    assert (await bench.release(orphan)).moved == 1
    assert (await bench.beat("w1", stale_claim_ms=-1)).orphans == []


async def test_batches_of_other_workers_are_no_orphans_of_mine(bench: Bench) -> None:
    await bench.submit("a")
    await bench.take("b1", "w2")
    assert (await bench.beat("w1", stale_claim_ms=-1)).orphans == []


async def test_workers_without_a_heartbeat_are_reported_until_they_are_taken_over(bench: Bench) -> None:
    await bench.beat("w2")
    await bench.die("w3")
    assert (await bench.beat("w1")).dead == ["w3"]
    await bench.takeover("w3")
    assert (await bench.beat("w1")).dead == []


async def test_a_few_of_many_dead_are_reported_per_look(bench: Bench) -> None:
    for n in range(20):
        await bench.die(f"d{n}")
    assert len((await bench.beat("w1")).dead) == 8


async def test_a_worker_does_not_report_itself(bench: Bench) -> None:
    await bench.die("w1")
    assert (await bench.beat("w1")).dead == []


async def test_the_look_says_that_work_waits_which_nobody_watches(bench: Bench) -> None:
    assert not (await bench.beat("w1")).work_waits
    await bench.submit("a")
    assert (await bench.beat("w1")).work_waits
    await bench.take("b1", "w2")
    assert not (await bench.beat("w1")).work_waits


async def test_work_that_somebody_watches_or_is_woken_for_is_in_good_hands(bench: Bench) -> None:
    await bench.submit("a")
    await bench.claim("b1", "w2", size=5, wait_ms=LONG_MS)
    assert not (await bench.beat("w1")).work_waits
    await bench.raw.delete(bench.keys.watcher)  # the watcher died and its lease passed
    assert (await bench.beat("w1")).work_waits


async def test_an_idle_workers_beat_keeps_it_idle_and_a_busy_ones_does_not(bench: Bench) -> None:
    await bench.beat("w1", idle=True)
    await bench.beat("w2", idle=False)
    assert await bench.idle() == ["w1"]


async def test_a_beat_does_not_put_a_watcher_or_a_woken_worker_among_the_idle(bench: Bench) -> None:
    await bench.submit("a")
    await bench.claim("b1", "w1", size=5, wait_ms=LONG_MS)
    await bench.beat("w1", idle=True)
    assert await bench.idle() == []
    await bench.raw.set(bench.keys.watcher, "0 w1")
    await bench.beat("w1", idle=True)
    assert await bench.idle() == []


async def test_a_beat_trims_idle_workers_that_do_not_look(bench: Bench) -> None:
    await bench.raw.zadd(bench.keys.idle, {"old": await bench.now_ms() - 4_000})
    await bench.beat("w1")
    assert await bench.idle() == []


async def test_joining_declares_the_limits_and_returns_what_was_declared_before(bench: Bench) -> None:
    first = await bench.run(join(bench.keys, "w1", max_batch_size=8, max_wait_ms=2.5))
    second = await bench.run(join(bench.keys, "w2", max_batch_size=16, max_wait_ms=10))
    assert first == DeclaredLimits("", "")
    assert second == DeclaredLimits("8", "2.5")
    status = await bench.queue()
    assert (status.max_batch_size, status.max_wait_ms, status.workers) == (16, 10.0, 2)


async def test_joining_creates_the_lane_so_that_nothing_is_skipped(bench: Bench) -> None:
    await bench.run(join(bench.keys, "w1", max_batch_size=8, max_wait_ms=1))
    await bench.submit("a")
    assert [e.local for e in await bench.take("b1")] == ["a"]


async def test_workers_past_the_limit_do_not_count_as_alive(bench: Bench) -> None:
    await bench.beat("w1")
    await bench.raw.zadd(bench.keys.workers, {"w2": await bench.now_ms() - LIMIT_MS - 1_000})
    assert (await bench.queue()).workers == 1
