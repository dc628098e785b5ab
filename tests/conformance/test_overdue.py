"""Deadlines and lost jobs: whoever asks for a job settles what nobody else would, but not what runs."""

from __future__ import annotations

import pytest
from tests.conformance.bench import OK, TTL_MS, Bench, job

from microbatch.common.codec import decode
from microbatch.common.scripts import BatchFacts, Idle, Outcome, RecordView, SettleCode, await_results, settle

LATER_MS = 100_000
EXPIRED = RecordView("expired", b"\xc0")


async def _ask(bench: Bench, local: str, way: str) -> str:
    """The state as whoever asks sees it."""
    if way == "await":
        return (await _await(bench, local)).state
    view = await bench.status(local)
    assert view is not None
    return view.record[b"state"].decode()


async def _await(bench: Bench, local: str) -> RecordView:
    (view,) = await bench.run(await_results(bench.keys, "c2", [local], register=True, check=True))
    return view


ways = pytest.mark.parametrize("way", ["await", "status"])


@ways
@pytest.mark.parametrize("delayed", [True, False])
async def test_a_job_past_its_deadline_expires_also_where_no_worker_lives(
    bench: Bench, way: str, *, delayed: bool
) -> None:
    await bench.submit(job("a", expires_in_ms=60_000, delay_ms=LATER_MS if delayed else None))
    assert await _ask(bench, "a", way) == ("scheduled" if delayed else "queued")
    await bench.pass_deadline("a")
    async with bench.listening(bench.keys.reply_channel("c1")) as client:
        assert await _ask(bench, "a", way) == "expired"
        assert await client.fragments() == [["a", "expired", None]]
    record = await bench.record("a")
    assert (record["state"], record["entry"]) == (b"expired", b"")
    assert "parked" not in record
    assert await bench.raw.pttl(bench.keys.job("a")) > 0
    assert await bench.raw.zcard(bench.keys.scheduled) == 0
    assert await _await(bench, "a") == EXPIRED
    assert isinstance(await bench.claim("b1"), Idle)
    assert await bench.lengths() == {}
    assert await bench.letters() == []


@ways
async def test_a_job_that_runs_does_not_expire(bench: Bench, way: str) -> None:
    await bench.submit(job("a", expires_in_ms=60_000))
    entries = await bench.take("b1")
    await bench.pass_deadline("a")
    assert await _ask(bench, "a", way) == "queued"
    assert await bench.settle("b1", entries) is None
    assert await _ask(bench, "a", way) == "succeeded"


@ways
async def test_a_job_without_a_deadline_waits_for_ever(bench: Bench, way: str) -> None:
    await bench.submit("a")
    assert await _ask(bench, "a", way) == "queued"


async def test_asking_without_a_check_settles_nothing(bench: Bench) -> None:
    await bench.submit(job("a", expires_in_ms=60_000))
    await bench.pass_deadline("a")
    (view,) = await bench.run(await_results(bench.keys, "c2", ["a"], register=False, check=False))
    assert view.state == "queued"


async def test_the_deadline_travels_in_the_entry_and_in_the_record(bench: Bench) -> None:
    before_ms = await bench.now_ms()
    await bench.submit(job("a", expires_in_ms=60_000))
    (entry,) = await bench.take("b1")
    assert entry.expires_ms is not None
    assert before_ms + 60_000 <= entry.expires_ms <= await bench.now_ms() + 60_000
    assert (await bench.record("a"))["expires_ms"] == str(entry.expires_ms).encode()


async def test_a_worker_that_finds_it_too_late_settles_it_as_expired(bench: Bench) -> None:
    await bench.submit(job("a", expires_in_ms=60_000))
    entries = await bench.take("b1")
    facts = BatchFacts("w1", "b1", "wait", 1, 5)
    outcomes = [Outcome(entry, "expired", b"\xc0") for entry in entries]
    assert await bench.run(settle(bench.keys, facts, outcomes, ttl_ms=TTL_MS, dead_max_length=9)) is None
    assert await _await(bench, "a") == EXPIRED
    assert await bench.letters() == []


async def test_an_expired_job_stays_expired_for_who_claimed_it_from_a_new_group(bench: Bench) -> None:
    await bench.submit(job("a", expires_in_ms=60_000))
    entries = await bench.take("b1")
    await bench.raw.xgroup_destroy(bench.keys.lane("main"), "workers")
    await bench.pass_deadline("a")
    assert await _ask(bench, "a", "await") == "expired"
    assert await bench.settle("b1", entries) == [SettleCode.FINAL]


@ways
async def test_the_jobs_own_time_to_live_wins(bench: Bench, way: str) -> None:
    await bench.submit(job("a", expires_in_ms=60_000, ttl_ms="50000000"))
    await bench.pass_deadline("a")
    await _ask(bench, "a", way)
    assert await bench.raw.pttl(bench.keys.job("a")) > 3_600_000


@ways
@pytest.mark.parametrize("deadline", ["", "x", "-1", "9" * 40])
async def test_a_deadline_that_is_no_number_is_none(bench: Bench, way: str, deadline: str) -> None:
    await bench.submit("a")
    await bench.raw.hset(bench.keys.job("a"), "expires_ms", deadline)
    assert await _ask(bench, "a", way) == ("expired" if deadline == "-1" else "queued")


@ways
@pytest.mark.parametrize("broken", ["removed", "foreign"])
async def test_a_scheduled_job_that_is_not_in_the_schedule_is_lost(
    bench: Bench, way: str, broken: str
) -> None:
    await bench.submit(job("a", delay_ms=LATER_MS))
    await bench.raw.delete(bench.keys.scheduled)
    if broken == "foreign":
        await bench.raw.set(bench.keys.scheduled, "x")
    async with bench.listening(bench.keys.reply_channel("c2")) as client:
        await bench.run(await_results(bench.keys, "c2", ["a"], register=True, check=False))
        assert await _ask(bench, "a", way) == "failed"
        ((local, state, error),) = await client.fragments()
    assert (local, state, error["type"]) == ("a", "failed", "JobLost")
    record = await bench.record("a")
    assert decode(record["error"])["type"] == "JobLost"
    assert record.keys().isdisjoint({"parked", "due_ms"})


@ways
async def test_a_full_server_still_settles_what_is_overdue(real_bench: Bench, way: str) -> None:
    bench = real_bench
    await bench.submit(job("late", expires_in_ms=60_000), job("lost", delay_ms=LATER_MS))
    await bench.pass_deadline("late")
    await bench.raw.delete(bench.keys.scheduled)
    await bench.raw.config_set("maxmemory", 1)
    try:
        assert await _ask(bench, "late", way) == "expired"
        assert await _ask(bench, "lost", way) == "failed"
    finally:
        await bench.raw.config_set("maxmemory", 0)


async def test_what_does_not_expire_keeps_its_result(bench: Bench) -> None:
    await bench.submit(job("a", expires_in_ms=60_000))
    await bench.settle("b1", await bench.take("b1"))
    await bench.pass_deadline("a")
    assert await _await(bench, "a") == RecordView("succeeded", OK)
