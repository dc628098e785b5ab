"""cancel: final at once in every state, the worker told, tombstones cleared, no late result ever written."""

from __future__ import annotations

import pytest
from tests.conformance.bench import LONG_MS, TTL_MS, Bench, job

from microbatch.common.codec import encode
from microbatch.common.scripts import Claimed, Idle, RedriveCode, SettleCode, SubmitCode, Watch

LATER_MS = 100_000


async def _tombstones(bench: Bench) -> set[str]:
    return {token.decode() for token in await bench.raw.smembers(bench.keys.tombstones)}


async def _lag(bench: Bench) -> int | None:
    (group,) = await bench.raw.xinfo_groups(bench.keys.lane("main"))
    lag = group.get("lag")
    return None if lag is None else int(lag)


async def test_a_waiting_job_becomes_a_tombstone_that_the_next_claim_clears(bench: Bench) -> None:
    await bench.submit("a", "b")
    token = (await bench.record("a"))["entry"].decode()
    async with bench.listening(bench.keys.reply_channel("c1")) as client:
        assert await bench.cancel("a") == "cancelled"
        assert await client.fragments() == [["a", "cancelled", None]]
    record = await bench.record("a")
    assert (record["state"], record["entry"]) == (b"cancelled", b"")
    assert 0 < await bench.raw.pttl(bench.keys.job("a")) <= TTL_MS
    assert await _tombstones(bench) == {token}
    assert (await bench.queue()).waiting == 1
    assert [entry.local for entry in await bench.take("b1")] == ["b"]
    assert await _tombstones(bench) == set()
    assert await bench.lengths() == await bench.pending() == {"main": 1}


@pytest.mark.parametrize("delayed", [True, False])
async def test_a_scheduled_job_leaves_the_schedule(bench: Bench, *, delayed: bool) -> None:
    await bench.submit(job("a", delay_ms=LATER_MS) if delayed else "a")
    if not delayed:
        await bench.retry("b1", await bench.take("b1"), delay_ms=LATER_MS)
    async with bench.listening(bench.keys.reply_channel("c1")) as client:
        assert await bench.cancel("a") == "cancelled"
        assert await client.fragments() == [["a", "cancelled", None]]
    record = await bench.record("a")
    assert record["state"] == b"cancelled"
    assert record.keys().isdisjoint({"parked", "last_error"})
    assert await bench.raw.zcard(bench.keys.scheduled) == 0
    assert isinstance(await bench.claim("b2"), Idle)


@pytest.mark.parametrize("lane", ["front", "solo"])
async def test_a_job_handed_back_or_under_suspicion_is_cancelled_in_its_lane(bench: Bench, lane: str) -> None:
    await bench.submit("a", "b")
    await bench.take("b1")
    if lane == "front":
        await bench.release("b1")
    else:
        await bench.die("w1")
        await bench.takeover("w1")
    await bench.cancel("a")
    assert {token.partition(":")[0] for token in await _tombstones(bench)} == {lane}
    assert [entry.local for entry in await bench.take("b2", "w2")] == ["b"]
    assert await bench.settle("b2", [], "w2") is None
    assert isinstance(await bench.claim("b3", "w2"), Idle)
    assert await _tombstones(bench) == set()
    assert (await bench.queue()).waiting == 0


async def test_a_running_job_is_final_at_once_and_its_worker_is_told(bench: Bench) -> None:
    await bench.submit("a", "b")
    a, b = await bench.take("b1")
    async with (
        bench.listening(bench.keys.wake_channel("w1")) as worker,
        bench.listening(bench.keys.reply_channel("c1")) as client,
    ):
        assert await bench.cancel("a") == "cancelled"
        assert await worker.all() == [b"cancel " + a.token.encode()]
        assert await client.fragments() == [["a", "cancelled", None]]
    assert await _tombstones(bench) == set()
    assert await bench.lengths() == await bench.pending() == {"main": 1}
    assert await bench.settle("b1", [a, b]) == [SettleCode.FINAL, SettleCode.WRITTEN]
    assert (await bench.record("a"))["state"] == b"cancelled"
    assert await bench.lengths() == await bench.pending() == {}


@pytest.mark.parametrize("ending", ["succeeded", "failed", "retry", "release", "takeover"])
async def test_nothing_late_brings_a_cancelled_job_back(bench: Bench, ending: str) -> None:
    await bench.submit("a")
    entries = await bench.take("b1")
    await bench.cancel("a")
    before = await bench.record("a")
    if ending == "retry":
        assert await bench.retry("b1", entries) == [SettleCode.FINAL]
    elif ending == "release":
        assert (await bench.release("b1")).moved == 0
    elif ending == "takeover":
        await bench.alone("b1")
        await bench.die("w1")
        assert (await bench.takeover("w1", max_crashes=1)).failed == 0
    else:
        assert await bench.settle("b1", entries, succeeded=ending == "succeeded") == [SettleCode.FINAL]
    assert await bench.record("a") == before
    assert await bench.lengths() == await bench.pending() == await bench.batches() == {}
    assert await bench.letters() == []
    assert await bench.raw.zcard(bench.keys.scheduled) == 0


@pytest.mark.parametrize("ending", ["succeeded", "failed", "cancelled"])
async def test_a_final_job_stays_as_it_is(bench: Bench, ending: str) -> None:
    await bench.submit("a")
    if ending == "cancelled":
        await bench.cancel("a")
    else:
        await bench.settle("b1", await bench.take("b1"), succeeded=ending == "succeeded")
    before = await bench.record("a")
    async with bench.listening(bench.keys.reply_channel("c1")) as client:
        assert await bench.cancel("a") == ending
        assert await client.all() == []
    assert await bench.record("a") == before


async def test_an_unknown_and_a_foreign_job_are_told_as_such(bench: Bench) -> None:
    await bench.raw.set(bench.keys.job("a"), "foreign")
    assert (await bench.cancel("none"), await bench.cancel("a")) == ("unknown", "foreign")
    assert await bench.raw.get(bench.keys.job("a")) == b"foreign"
    assert await bench.record("none") == {}


async def test_the_jobs_own_time_to_live_wins(bench: Bench) -> None:
    await bench.submit(job("a", ttl_ms="5000000"), job("b", ttl_ms="0"))
    await bench.cancel("a")
    async with bench.listening(bench.keys.reply_channel("c1")) as client:
        await bench.cancel("b")
        assert await client.fragments() == [["b", "cancelled", None]]
    assert await bench.raw.pttl(bench.keys.job("a")) > TTL_MS
    assert await bench.record("b") == {}
    assert isinstance(await bench.claim("b1"), Idle)


async def test_a_cancelled_id_is_not_run_again_by_a_second_submit(bench: Bench) -> None:
    await bench.submit("a")
    await bench.cancel("a")
    assert (await bench.submit("a")).codes == [SubmitCode.SAME]
    assert isinstance(await bench.claim("b1"), Idle)


async def test_a_cancelled_oldest_job_does_not_make_its_followers_due(bench: Bench) -> None:
    await bench.put_old("old", age_ms=90_000)
    await bench.submit("fresh")
    await bench.cancel("old")
    reply = await bench.claim("b1", size=10, wait_ms=60_000)
    assert isinstance(reply, Watch)
    assert await _tombstones(bench) == set()
    assert await bench.lengths() == {"main": 1}


async def test_cancelled_jobs_do_not_make_a_batch_full(bench: Bench) -> None:
    await bench.submit("a", "b", "c")
    await bench.cancel("b")
    assert isinstance(await bench.claim("b1", size=3, wait_ms=LONG_MS), Watch)
    await bench.submit("d")
    entries = await bench.take("b2", size=3, wait_ms=LONG_MS)
    assert [entry.local for entry in entries] == ["a", "c", "d"]


async def test_a_claim_clears_a_bounded_number_and_asks_to_be_called_again(bench: Bench) -> None:
    names = [f"j{n:03}" for n in range(600)]
    await bench.submit(*names, "last")
    for name in names:
        await bench.cancel(name)
    for left in (344, 88):
        assert await bench.claim("b1", size=1_000) == Watch(0.0)
        assert len(await _tombstones(bench)) == left
    assert [entry.local for entry in await bench.take("b1", size=1_000)] == ["last"]
    assert await _tombstones(bench) == set()


@pytest.mark.parametrize("wait_ms", [0.0, LONG_MS])
async def test_the_count_of_waiting_jobs_stays_right(real_bench: Bench, wait_ms: float) -> None:
    bench = real_bench

    async def check(waiting: int, tombstones: int) -> None:
        assert (await bench.queue()).waiting == waiting
        assert await _lag(bench) in {waiting + tombstones, None}  # a lag that is told is right

    await bench.submit("a", "b", "c", "d")
    await bench.cancel("b")
    assert await _lag(bench) == 4
    await check(3, 1)
    await bench.take("b1", size=2, wait_ms=wait_ms)
    await check(1, 0)
    await bench.cancel("d")
    await check(0, 1)
    assert isinstance(await bench.claim("b2", wait_ms=wait_ms), Idle)
    await check(0, 0)
    await bench.submit("e")
    await check(1, 0)


async def test_a_tombstone_whose_entry_somebody_deleted_is_dropped_when_the_queue_is_empty(
    bench: Bench,
) -> None:
    await bench.submit("a", "b")
    await bench.cancel("a")
    await bench.raw.delete(bench.keys.lane("main"))
    assert isinstance(await bench.claim("b1"), Idle)
    assert await _tombstones(bench) == set()
    await bench.submit("c")
    assert (await bench.queue()).waiting == 1


async def test_tombstones_survive_the_deletion_of_the_group(bench: Bench) -> None:
    await bench.submit("a", "b")
    await bench.cancel("a")
    await bench.raw.xgroup_destroy(bench.keys.lane("main"), "workers")
    assert [entry.local for entry in await bench.take("b1")] == ["b"]
    assert await _tombstones(bench) == set()


async def test_a_broken_tombstone_key_costs_no_outcome(bench: Bench) -> None:
    await bench.submit("a")
    await bench.raw.set(bench.keys.tombstones, "foreign")
    assert await bench.cancel("a") == "cancelled"
    reply = await bench.claim("b1")
    if isinstance(reply, Claimed):  # nothing told the claim; the record does
        assert await bench.settle("b1", reply.entries) == [SettleCode.FINAL]
    assert (await bench.record("a"))["state"] == b"cancelled"
    assert await bench.lengths() == {}


async def test_a_cancelled_job_leaves_no_letter_and_a_redriven_one_can_be_cancelled(bench: Bench) -> None:
    await bench.submit("a")
    await bench.settle("b1", await bench.take("b1"), succeeded=False)
    (letter,) = await bench.letters()
    assert await bench.redrive(letter.letter_id) == [RedriveCode.REDRIVEN]
    assert await bench.cancel("a") == "cancelled"
    assert await bench.letters() == []
    assert (await bench.record("a"))["run"] == b"2"


async def test_a_job_whose_entry_is_gone_can_be_cancelled(bench: Bench) -> None:
    await bench.submit("a")
    await bench.raw.delete(bench.keys.lane("main"))
    assert await bench.cancel("a") == "cancelled"


async def test_a_full_server_still_cancels(real_bench: Bench) -> None:
    bench = real_bench
    await bench.submit("running", "waiting", job("later", delay_ms=LATER_MS))
    entries = await bench.take("b1", size=1)
    await bench.raw.config_set("maxmemory", 1)
    try:
        for local in ("waiting", "later", "running"):
            assert await bench.cancel(local) == "cancelled"
        assert await bench.settle("b1", entries, value=encode("late")) == [SettleCode.FINAL]
        assert isinstance(await bench.claim("b2"), Idle)
    finally:
        await bench.raw.config_set("maxmemory", 0)
    assert await bench.lengths() == {}


async def test_a_cancelled_suspect_keeps_no_full_batch_waiting(bench: Bench) -> None:
    await bench.submit(*"abcd")
    await bench.take("b1", size=1)
    await bench.die("w1")
    await bench.takeover("w1")
    await bench.cancel("a")
    claimed = await bench.claim("b2", "w2", size=3, wait_ms=LONG_MS)
    assert isinstance(claimed, Claimed)
    assert [entry.local for entry in claimed.entries] == ["b", "c", "d"]
