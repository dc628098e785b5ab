"""claim: when a batch is due, what is in it, and how a claim is repeated."""

from __future__ import annotations

import pytest
from tests.conformance.bench import LONG_MS, Bench, job

from microbatch.common.keys import GROUP
from microbatch.common.scripts import Claimed, Idle, Watch


async def test_an_empty_queue_leaves_the_worker_idle(bench: Bench) -> None:
    assert await bench.claim("b1") == Idle()
    assert await bench.idle() == ["w1"]


async def test_enough_jobs_are_a_batch_at_once_and_its_reason_is_size(bench: Bench) -> None:
    await bench.submit("a", "b", "c")
    reply = await bench.claim("b1", size=3, wait_ms=LONG_MS)
    assert isinstance(reply, Claimed)
    assert reply.reason == "size"
    assert [entry.local for entry in reply.entries] == ["a", "b", "c"]
    assert abs(reply.claimed_ms - await bench.now_ms()) < 10_000


async def test_never_more_than_the_largest_batch_size(bench: Bench) -> None:
    await bench.submit(*(f"j{n}" for n in range(70)))
    assert [len(await bench.take(f"b{n}", size=33)) for n in range(3)] == [33, 33, 4]


@pytest.mark.parametrize("size", [1, 15, 16, 17, 32])
async def test_a_batch_is_as_large_as_it_may_be(bench: Bench, size: int) -> None:
    await bench.submit(*(f"j{n}" for n in range(40)))
    assert len(await bench.take("b1", size=size)) == size


async def test_too_few_and_too_young_jobs_are_watched_for_as_long_as_is_left(bench: Bench) -> None:
    await bench.put_old("a", age_ms=200)
    reply = await bench.claim("b1", size=2, wait_ms=900)
    assert isinstance(reply, Watch)
    assert 0 < reply.wait_s <= 0.7


async def test_a_watch_never_lasts_longer_than_a_second(bench: Bench) -> None:
    await bench.submit("a")
    reply = await bench.claim("b1", wait_ms=LONG_MS)
    assert isinstance(reply, Watch)
    assert reply.wait_s == 1.0


async def test_the_oldest_job_makes_the_batch_due_by_its_age_and_the_young_ride_along(bench: Bench) -> None:
    await bench.put_old("old", age_ms=5_000)
    await bench.submit("young")
    reply = await bench.claim("b1", wait_ms=4_000)
    assert isinstance(reply, Claimed)
    assert reply.reason == "wait"
    assert [entry.local for entry in reply.entries] == ["old", "young"]


async def test_without_a_wait_a_single_job_leaves_at_once(bench: Bench) -> None:
    await bench.submit("a")
    assert len(await bench.take("b1", wait_ms=0)) == 1


async def test_an_entry_from_the_future_is_due_because_a_clock_was_turned_back(bench: Bench) -> None:
    await bench.put_old("a", age_ms=-3_600_000)
    assert len(await bench.take("b1", wait_ms=LONG_MS)) == 1


async def test_the_same_batch_id_returns_the_same_entries_and_reads_nothing(bench: Bench) -> None:
    await bench.submit(*(f"j{n}" for n in range(6)))
    first = await bench.claim("b1", size=4)
    again = await bench.claim("b1", size=4)
    assert isinstance(first, Claimed)
    assert isinstance(again, Claimed)
    assert [e.token for e in again.entries] == [e.token for e in first.entries]
    assert [e.payload for e in again.entries] == [e.payload for e in first.entries]
    assert (again.reason, again.claimed_ms) == (first.reason, first.claimed_ms)
    assert await bench.pending() == {"main": 4}


async def test_the_same_batch_id_after_a_hand_back_takes_anew(bench: Bench) -> None:
    await bench.submit("a")
    await bench.take("b1")
    await bench.release("b1")
    assert [e.local for e in await bench.take("b1")] == ["a"]


async def test_the_batch_is_listed_with_its_entries_in_the_same_step(bench: Bench) -> None:
    await bench.submit("a", "b")
    entries = await bench.take("b1")
    listed = (await bench.batches())["b1"].split(" ")
    assert listed[1:] == ["wait", *(entry.token for entry in entries)]


async def test_a_batch_stops_near_its_bytes_budget(bench: Bench) -> None:
    await bench.submit(*(job(f"j{n}", "x" * 1_000) for n in range(64)))
    reply = await bench.claim("b1", size=64, max_bytes=20_000)
    assert isinstance(reply, Claimed)
    assert reply.reason == "budget"
    assert 20 <= len(reply.entries) <= 20 + 16


async def test_one_job_above_the_budget_still_leaves(bench: Bench) -> None:
    await bench.submit(job("a", "x" * 5_000))
    assert len(await bench.take("b1", max_bytes=1_000)) == 1


async def test_what_is_not_ours_in_the_lane_is_delivered_with_a_fault(bench: Bench) -> None:
    await bench.raw.xadd(bench.keys.lane("main"), {"what": "ever"})
    (entry,) = await bench.take("b1")
    assert entry.fault
    assert entry.local == ""


async def test_a_lane_without_a_group_is_healed(bench: Bench) -> None:
    await bench.raw.xadd(bench.keys.lane("main"), {"v": "1", "id": "a", "client": "", "payload": b"\xc0"})
    assert len(await bench.take("b1")) == 1


async def test_a_destroyed_group_is_healed_and_nothing_is_skipped(bench: Bench) -> None:
    await bench.submit("a", "b")
    held = await bench.take("b1", size=1)
    await bench.raw.xgroup_destroy(bench.keys.lane("main"), GROUP)
    again = await bench.take("b2", "w2")
    assert [e.local for e in again] == ["a", "b"]
    assert await bench.settle("b1", held) is None
    assert [code.name for code in await bench.settle("b2", again, "w2") or []] == ["FINAL", "WRITTEN"]
    assert await bench.lengths() == await bench.pending() == {}


async def test_a_deleted_lane_is_healed_by_the_next_submit(bench: Bench) -> None:
    await bench.submit("a")
    await bench.take("b1")
    await bench.raw.delete(bench.keys.lane("main"))
    assert await bench.claim("b2") == Idle()
    await bench.submit("b")
    assert [e.local for e in await bench.take("b2")] == ["b"]


async def test_claims_of_two_workers_share_nothing(bench: Bench) -> None:
    await bench.submit(*(f"j{n}" for n in range(8)))
    one, two = await bench.take("b1", size=4), await bench.take("b2", "w2", size=4)
    assert not {e.token for e in one} & {e.token for e in two}
    assert await bench.claim("b3", "w3") == Idle()


async def test_who_claims_can_be_found_dead_even_after_it_was_forgotten(bench: Bench) -> None:
    # A worker that was taken over, or has left, thaws: its claim loop may be faster than its heartbeat.
    await bench.submit("a", "b")
    await bench.take("b1", size=1)
    await bench.die("w1")
    await bench.takeover("w1")
    await bench.take("b2", size=1)
    await bench.die("w1", known=True)
    assert (await bench.beat("w2")).dead == ["w1"]
    assert (await bench.takeover("w1", max_crashes=9)).moved == 1
    assert await bench.pending() == {}


async def test_a_claim_does_not_pass_for_a_heartbeat(bench: Bench) -> None:
    await bench.submit("a")
    await bench.die("w1")
    before = await bench.raw.zscore(bench.keys.workers, "w1")
    await bench.take("b1")
    assert await bench.raw.zscore(bench.keys.workers, "w1") == before


@pytest.mark.parametrize("settled_first", [0, 1, 2])
async def test_what_waits_is_counted_right_whatever_order_batches_end_in(
    bench: Bench, settled_first: int
) -> None:
    # After a delete ahead of an entry that is still held, the server cannot tell the group's lag (nil).
    await bench.submit(*(f"j{n}" for n in range(3)))
    held = [await bench.take(f"b{n}", size=1) for n in range(3)]
    await bench.settle(f"b{settled_first}", held[settled_first])
    await bench.submit("x", "y")
    assert (await bench.queue()).waiting == 2
    assert isinstance(await bench.claim("b4", size=3, wait_ms=LONG_MS), Watch)
    assert len(await bench.take("b4", size=2, wait_ms=LONG_MS)) == 2
    assert (await bench.queue()).waiting == 0
