"""The condition variable: work wakes one worker, a wake is in flight to one only, and none is lost."""

from __future__ import annotations

import pytest
from tests.conformance.bench import LONG_MS, OK, Bench

from microbatch.common.scripts import Claimed, Idle, JobOptions, NewJob, Watch

GONE = -2  # says PTTL of a key that has expired


async def _be_idle(bench: Bench, *workers: str) -> None:
    """Workers that went idle in this order."""
    for number, worker in enumerate(workers):
        assert await bench.claim(f"b-{worker}", worker) == Idle()
        await bench.raw.zadd(bench.keys.idle, {worker: await bench.now_ms() + number})


async def _watch(bench: Bench, worker: str, *, size: int, batch: str = "b-watch") -> None:
    assert isinstance(await bench.claim(batch, worker, size=size, wait_ms=LONG_MS), Watch)


async def test_submit_wakes_one_worker_the_newest_idle_one(bench: Bench) -> None:
    await _be_idle(bench, "w1", "w2", "w3")
    async with bench.listening(bench.keys.wake_channel("w3")) as bell:
        await bench.submit("a")
        assert await bell.all() == [b"1"]
    assert await bench.idle() == ["w1", "w2"]
    assert await bench.watcher() == "0 w3"


async def test_while_a_wake_is_in_flight_nobody_else_is_woken(bench: Bench) -> None:
    await _be_idle(bench, "w1", "w2")
    async with bench.listening(bench.keys.wake_channel("w1")) as bell:
        await bench.submit("a")
        await bench.submit("b")
        await bench.submit("c")
        assert await bell.all() == []
    assert await bench.idle() == ["w1"]


async def test_a_wake_has_a_lease_so_that_a_death_costs_little(bench: Bench) -> None:
    await _be_idle(bench, "w1", "w2")
    bench.real_leases = True
    await bench.submit("a")
    assert await bench.raw.pttl(bench.keys.watcher) in {GONE, *range(101)}
    bench.real_leases = False
    await bench.raw.delete(bench.keys.watcher)  # the lease has passed
    await bench.submit("b")
    assert await bench.watcher() == "0 w1"


async def test_workers_that_have_not_looked_for_three_seconds_are_not_woken(bench: Bench) -> None:
    stale = await bench.now_ms() - 3_500
    await bench.raw.zadd(bench.keys.idle, {"w1": stale, "w2": stale + 1})
    await bench.submit("a")
    assert await bench.watcher() is None
    assert await bench.idle() == []


async def test_with_nobody_idle_submit_wakes_nobody(bench: Bench) -> None:
    await bench.submit("a")
    assert await bench.watcher() is None


async def test_the_woken_worker_becomes_the_watcher_while_the_batch_fills(bench: Bench) -> None:
    await _be_idle(bench, "w1")
    await bench.submit("a")
    await _watch(bench, "w1", size=3)
    assert await bench.watcher() == "3 w1"
    assert await bench.idle() == []


async def test_a_watch_has_the_lease_of_a_wake_on_top_of_its_wait(bench: Bench) -> None:
    bench.real_leases = True
    await bench.submit("a")
    await _watch(bench, "w1", size=3)
    assert await bench.raw.pttl(bench.keys.watcher) in {GONE, *range(1_101)}


async def test_only_one_worker_watches_the_others_are_idle(bench: Bench) -> None:
    await bench.submit("a")
    await _watch(bench, "w1", size=3)
    assert await bench.claim("b2", "w2", size=3, wait_ms=LONG_MS) == Idle()
    assert await bench.watcher() == "3 w1"


async def test_the_watcher_may_look_again_and_stays_the_watcher(bench: Bench) -> None:
    await bench.submit("a")
    await _watch(bench, "w1", size=3)
    await _watch(bench, "w1", size=3)
    assert await bench.watcher() == "3 w1"


async def test_a_full_batch_rings_the_watcher_once(bench: Bench) -> None:
    await bench.submit("a")
    await _watch(bench, "w1", size=3)
    async with bench.listening(bench.keys.wake_channel("w1")) as bell:
        await bench.submit("b")
        assert await bell.all() == []
        await bench.submit("c")
        assert await bell.all() == [b"1"]
        await bench.submit("d")
        assert await bell.all() == []
    assert await bench.watcher() == "0 w1"


async def test_a_claim_clears_its_own_watch(bench: Bench) -> None:
    await bench.submit("a")
    await _watch(bench, "w1", size=3)
    await bench.submit("b", "c")
    await bench.take("b1", size=3)
    assert await bench.watcher() is None


async def test_a_claim_leaves_the_watch_of_another_worker(bench: Bench) -> None:
    await bench.submit("a")
    await _watch(bench, "w1", size=3)
    await bench.take("b2", "w2")
    assert await bench.watcher() == "3 w1"


async def test_a_watcher_that_finds_nothing_is_idle_and_watches_no_more(bench: Bench) -> None:
    await bench.submit("a")
    await _watch(bench, "w1", size=3)
    await bench.take("b2", "w2")
    assert await bench.claim("b1", "w1") == Idle()
    assert await bench.watcher() is None
    assert await bench.idle() == ["w1"]


async def test_a_watcher_that_finds_only_cancelled_jobs_watches_no_more(bench: Bench) -> None:
    # Left behind, its watch would swallow the wake of the next job.
    tokens = [await bench.put_old(f"j{n}", age_ms=100) for n in range(2)]
    await _watch(bench, "w1", size=3)
    await bench.raw.sadd(bench.keys.tombstones, *tokens)
    assert await bench.claim("b1", "w1", size=3) == Idle()
    await bench.submit("a")
    assert await bench.watcher() == "0 w1"


async def test_a_claim_that_leaves_work_wakes_one_more(bench: Bench) -> None:
    await _be_idle(bench, "w1", "w2", "w3")
    await bench.submit("a", "b", "c")
    assert len(await bench.take("b3", "w3", size=2)) == 2
    assert await bench.watcher() == "0 w2"
    assert await bench.idle() == ["w1"]


async def test_a_claim_that_leaves_work_wakes_one_more_also_when_it_is_not_due_yet(bench: Bench) -> None:
    await _be_idle(bench, "w1", "w2")
    await bench.submit("a", "b", "c")
    await bench.take("b2", "w2", size=2, wait_ms=LONG_MS)
    assert await bench.watcher() == "0 w1"


async def test_a_claim_that_takes_all_wakes_nobody(bench: Bench) -> None:
    await _be_idle(bench, "w1", "w2")
    await bench.submit("a", "b")
    await bench.take("b2", "w2")
    assert await bench.watcher() is None
    assert await bench.idle() == ["w1"]


async def test_who_takes_the_last_jobs_and_has_a_slot_to_spare_is_idle_by_the_same_call(bench: Bench) -> None:
    await bench.submit("a", "b")
    reply = await bench.claim("b1", spare="spare")
    assert isinstance(reply, Claimed)
    assert (len(reply.entries), reply.is_last) == (2, True)
    assert await bench.idle() == ["w1"]
    await bench.submit("c")
    assert await bench.watcher() == "0 w1"
    assert await bench.idle() == []


async def test_who_takes_the_last_jobs_into_its_last_slot_is_not_idle(bench: Bench) -> None:
    await bench.submit("a")
    reply = await bench.claim("b1")
    assert isinstance(reply, Claimed)
    assert not reply.is_last
    assert await bench.idle() == []


@pytest.mark.parametrize("what", ["more than it takes", "something scheduled", "a handed back job"])
async def test_who_leaves_something_claims_again_before_it_is_idle(bench: Bench, what: str) -> None:
    await bench.submit("a")
    if what == "more than it takes":
        await bench.submit("b")
    elif what == "something scheduled":
        await bench.submit(NewJob("later", b"", OK, JobOptions(delay_ms=60_000).encoded()))
    else:
        await bench.take("b0", "w2")
        await bench.submit("b")
        await bench.release("b0", "w2")
    reply = await bench.claim("b1", size=1, spare="spare")
    assert isinstance(reply, Claimed)
    assert not reply.is_last
    assert await bench.idle() == []


async def test_a_repeated_claim_does_not_say_that_it_was_the_last(bench: Bench) -> None:
    await bench.submit("a")
    first = await bench.claim("b1", spare="spare")
    await bench.submit("b")
    again = await bench.claim("b1", spare="spare")
    assert isinstance(first, Claimed)
    assert isinstance(again, Claimed)
    assert ([entry.local for entry in again.entries], first.is_last, again.is_last) == (["a"], True, False)


async def test_a_burst_reaches_all_idle_workers_one_by_one(bench: Bench) -> None:
    await _be_idle(bench, "w1", "w2", "w3")
    await bench.submit(*(f"j{n}" for n in range(6)))
    claimed = []
    while (watcher := await bench.watcher()) is not None:
        worker = watcher.removeprefix("0 ")
        reply = await bench.claim(f"b{worker}", worker, size=2)
        assert isinstance(reply, Claimed)
        claimed.append(worker)
    assert claimed == ["w3", "w2", "w1"]
    assert (await bench.queue()).waiting == 0


async def test_hand_back_and_takeover_ring_the_watcher_at_once(bench: Bench) -> None:
    for give_back in ("release", "takeover"):
        await bench.raw.flushall()
        await bench.submit("a", "b")
        await bench.take("b1", "w1")
        await bench.submit("c")
        await _watch(bench, "w2", size=9)
        if give_back == "release":
            await bench.release("b1")
        else:
            await bench.die("w1")
            await bench.takeover("w1")
        assert await bench.watcher() == "0 w2"


async def test_stepping_aside_passes_a_wake_on(bench: Bench) -> None:
    await _be_idle(bench, "w1", "w2")
    await bench.submit("a")
    assert await bench.watcher() == "0 w2"
    await bench.step_aside("w2")
    assert await bench.watcher() == "0 w1"
    assert await bench.idle() == []


async def test_stepping_aside_passes_a_watch_on(bench: Bench) -> None:
    await bench.submit("a")
    await _watch(bench, "w2", size=3)
    await _be_idle_while_another_watches(bench, "w1")
    await bench.step_aside("w2")
    assert await bench.watcher() == "0 w1"


async def test_stepping_aside_with_no_work_wakes_nobody(bench: Bench) -> None:
    await _be_idle(bench, "w1", "w2")
    assert await bench.step_aside("w2") == 0
    assert await bench.watcher() is None
    assert await bench.idle() == ["w1"]


async def test_stepping_aside_leaves_the_watch_of_another_worker(bench: Bench) -> None:
    await bench.submit("a")
    await _watch(bench, "w2", size=3)
    await bench.step_aside("w1")
    assert await bench.watcher() == "3 w2"


async def _be_idle_while_another_watches(bench: Bench, worker: str) -> None:
    assert await bench.claim(f"b-{worker}", worker, size=3, wait_ms=LONG_MS) == Idle()


async def test_leaving_forgets_a_worker_that_holds_nothing(bench: Bench) -> None:
    await bench.submit("a")
    await bench.beat("w1")
    await bench.settle("b1", await bench.take("b1"))
    assert await bench.step_aside("w1", leaving=True) == 0
    assert await bench.raw.zscore(bench.keys.workers, "w1") is None
    assert await bench.consumers() == set()


async def test_leaving_does_not_forget_a_worker_that_holds_jobs(bench: Bench) -> None:
    await bench.submit("a")
    await bench.take("b1")
    assert await bench.step_aside("w1", leaving=True) == 1
    assert await bench.raw.zscore(bench.keys.workers, "w1") is not None
    assert await bench.consumers() == {"w1"}
    assert await bench.pending() == {"main": 1}


async def test_leaving_takes_along_what_is_listed_but_gone(bench: Bench) -> None:
    await bench.submit("a")
    (entry,) = await bench.take("b1")
    await bench.settle("b1", [entry], close=False)
    await bench.step_aside("w1", leaving=True)
    assert await bench.batches() == {}


async def test_a_claim_that_arrives_after_the_farewell_strands_nobody(bench: Bench) -> None:
    await bench.submit("a")
    await bench.step_aside("w1", leaving=True)
    await bench.take("b-late")
    await bench.die("w1", known=True)
    assert (await bench.beat("w2")).dead == ["w1"]
    assert (await bench.takeover("w1")).moved == 1
