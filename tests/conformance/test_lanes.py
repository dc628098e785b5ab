"""claim: suspects alone, then what was handed back, then new jobs; cancelled entries are no work."""

from __future__ import annotations

import pytest
from tests.conformance.bench import LONG_MS, Bench

from microbatch.common.keys import GROUP
from microbatch.common.scripts import Claimed, Idle, Watch


async def _suspects(bench: Bench, *locals_: str) -> None:
    """Jobs whose worker died while it ran them together."""
    await bench.submit(*locals_)
    await bench.take("b-dead", "dead")
    await bench.die("dead")
    await bench.takeover("dead")


async def test_what_was_handed_back_goes_first_and_new_jobs_fill_its_batch(bench: Bench) -> None:
    await bench.submit("a", "b")
    await bench.take("b1")
    await bench.submit("c", "d", "e")
    await bench.release("b1")
    reply = await bench.claim("b2", size=4, wait_ms=LONG_MS)
    assert isinstance(reply, Claimed)
    assert reply.reason == "recovery"
    assert [e.local for e in reply.entries] == ["a", "b", "c", "d"]
    assert [e.token.partition(":")[0] for e in reply.entries] == ["front", "front", "main", "main"]


async def test_a_repeated_claim_over_two_lanes_returns_both(bench: Bench) -> None:
    await bench.submit("a", "b")
    await bench.take("b1", size=1)
    await bench.release("b1")
    first = await bench.take("b2", size=4)
    assert [e.token for e in await bench.take("b2", size=4)] == [e.token for e in first]


async def test_more_handed_back_jobs_than_fit_take_a_second_batch(bench: Bench) -> None:
    await bench.submit(*(f"j{n}" for n in range(5)))
    await bench.take("b1")
    await bench.release("b1")
    assert [len(await bench.take(f"b{n}", size=3)) for n in (2, 3)] == [3, 2]


async def test_a_suspect_runs_alone_and_before_everything_else(bench: Bench) -> None:
    await _suspects(bench, "a", "b")
    await bench.submit("c")
    seen = []
    for n in range(3):
        reply = await bench.claim(f"b{n}", size=8)
        assert isinstance(reply, Claimed)
        seen.append((reply.reason, [e.local for e in reply.entries]))
    assert seen == [("recovery", ["a"]), ("recovery", ["b"]), ("wait", ["c"])]


async def test_running_suspects_do_not_hold_new_jobs_up(bench: Bench) -> None:
    await _suspects(bench, "a")
    await bench.take("b1")
    await bench.submit("c")
    assert [e.local for e in await bench.take("b2")] == ["c"]


async def test_a_moved_job_keeps_its_first_time_its_headers_and_its_payload(bench: Bench) -> None:
    await bench.put_old("a", age_ms=60_000, headers="\x01h", ttl_ms="77")
    (first,) = await bench.take("b1")
    await bench.release("b1", ran=True)
    (second,) = await bench.take("b2")
    assert second.enqueued_ms == first.enqueued_ms
    assert (second.payload, second.headers, second.ttl_ms) == (first.payload, first.headers, "77")
    assert (first.attempt, second.attempt) == (1, 2)
    assert second.token != first.token


@pytest.mark.parametrize("lane", ["front", "solo"])
async def test_a_destroyed_group_of_a_recovery_lane_is_healed(bench: Bench, lane: str) -> None:
    await bench.put_old("a", age_ms=0, lane=lane)
    await bench.raw.xgroup_destroy(bench.keys.lane(lane), GROUP)
    assert [e.local for e in await bench.take("b1")] == ["a"]


async def test_a_cancelled_entry_is_skipped_and_deleted(bench: Bench) -> None:
    tokens = [await bench.put_old(local, age_ms=100) for local in ("a", "b", "c")]
    await bench.raw.sadd(bench.keys.tombstones, tokens[0], tokens[1])
    assert [e.local for e in await bench.take("b1")] == ["c"]
    assert await bench.lengths() == await bench.pending() == {"main": 1}
    assert await bench.raw.exists(bench.keys.tombstones) == 0


async def test_a_cancelled_entry_in_the_middle_leaves_no_hole_in_the_batch(bench: Bench) -> None:
    tokens = [await bench.put_old(f"j{n}", age_ms=100) for n in range(4)]
    await bench.raw.sadd(bench.keys.tombstones, tokens[1])
    assert [e.local for e in await bench.take("b1", size=3)] == ["j0", "j2", "j3"]


async def test_a_cancelled_old_job_does_not_make_its_followers_due(bench: Bench) -> None:
    token = await bench.put_old("old", age_ms=60_000)
    await bench.submit("young")
    await bench.raw.sadd(bench.keys.tombstones, token)
    assert isinstance(await bench.claim("b1", wait_ms=30_000), Watch)
    assert (await bench.queue()).waiting == 1
    assert await bench.lengths() == {"main": 1}


async def test_cancelled_jobs_do_not_fill_a_batch(bench: Bench) -> None:
    await bench.submit("a")
    tokens = [await bench.put_old(f"j{n}", age_ms=-50) for n in range(2)]
    await bench.raw.sadd(bench.keys.tombstones, *tokens)
    assert isinstance(await bench.claim("b1", size=3, wait_ms=LONG_MS), Watch)


async def test_only_cancelled_jobs_are_no_work_at_all(bench: Bench) -> None:
    tokens = [await bench.put_old(f"j{n}", age_ms=100) for n in range(20)]
    await bench.raw.sadd(bench.keys.tombstones, *tokens)
    status = await bench.queue()
    assert (status.waiting, status.running) == (0, 0)
    assert await bench.claim("b1", size=4) == Idle()
    assert await bench.lengths() == {}
    assert await bench.raw.exists(bench.keys.tombstones, bench.keys.watcher) == 0


async def test_front_is_taken_even_where_the_main_lane_is_damaged(bench: Bench) -> None:
    # What was read must leave with its batch: an entry that no batch names waits for the worker's death.
    await bench.submit("a")
    await bench.take("b1")
    await bench.release("b1")
    await bench.raw.delete(bench.keys.lane("main"))
    await bench.raw.set(bench.keys.lane("main"), "foreign")
    assert [e.local for e in await bench.take("b2")] == ["a"]
    assert list(await bench.batches()) == ["b2"]
