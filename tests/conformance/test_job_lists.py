"""The scripts that list jobs: what they tell of each, and pages that go on where the last one ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.conformance.bench import LONG_MS, TTL_MS, job

from microbatch.common.codec import encode_error
from microbatch.common.scripts import (
    NOWHERE,
    JobSight,
    ScheduledPlace,
    job_entry,
    job_records,
    lane_jobs,
    run_now,
    scheduled_jobs,
)

if TYPE_CHECKING:
    from tests.conformance.bench import Bench

    from microbatch.common.scripts import Which

ERROR = encode_error("ValueError", "no")
LANES = ("solo", "front", "main")


async def in_lanes(
    bench: Bench, *lanes: str, which: Which = "", count: int = 256, not_before_ms: int = 0
) -> list[JobSight]:
    """All pages of these lanes; each begins with the lane in which the last one ended."""
    todo, after = list(lanes or LANES), ""
    found: list[JobSight] = []
    while True:
        call = lane_jobs(bench.keys, todo, which=which, after=after, count=count, not_before_ms=not_before_ms)
        page = await bench.run(call)
        assert len(page.jobs) <= count
        found += page.jobs
        after = page.after
        if not after:
            return found
        todo = todo[todo.index(after.rpartition(":")[0]) :]


def ids(jobs: list[JobSight]) -> list[str]:
    return [one.fields[b"id"].decode() for one in jobs]


async def scheduled(bench: Bench, *, count: int = 256) -> list[JobSight]:
    found: list[JobSight] = []
    after = NOWHERE
    while True:
        page = await bench.run(scheduled_jobs(bench.keys, after=after, count=count))
        found += page.jobs
        after = page.after
        if after == NOWHERE:
            return found


# --- lanes ------------------------------------------------------------------------------------


async def test_an_empty_queue_has_no_jobs(bench: Bench) -> None:
    assert await in_lanes(bench) == []
    assert await scheduled(bench) == []


@pytest.mark.parametrize("count", [1, 2, 3, 17, 256])
async def test_who_waits_and_who_runs_is_told_in_the_lanes_order(bench: Bench, count: int) -> None:
    names = [f"j{n:02}" for n in range(40)]
    await bench.submit(*names)
    await bench.take("b1", size=5)
    jobs = await in_lanes(bench, count=count)
    assert ids(jobs) == names
    assert [(one.worker, one.batch, one.batch_size) for one in jobs[:5]] == [("w1", "b1", 5)] * 5
    now_ms = await bench.now_ms()
    assert all(abs(one.claimed_ms - now_ms) < LONG_MS for one in jobs[:5])
    assert {(one.worker, one.batch, one.claimed_ms) for one in jobs[5:]} == {("", "", 0)}
    assert ids(await in_lanes(bench, which="running", count=count)) == names[:5]
    assert ids(await in_lanes(bench, which="queued", count=count)) == names[5:]


async def test_all_that_an_entry_says_is_told_but_its_payload(bench: Bench) -> None:
    payload = "secret" * 100
    await bench.submit(job("a", payload, priority=5, batch_key="k", cost=7, max_attempts=3))
    (found,) = await in_lanes(bench, "5/k")
    assert b"payload" not in found.fields
    assert found.payload_bytes == len(job("a", payload).payload)
    expected = {b"id": b"a", b"priority": b"5", b"batch_key": b"k", b"cost": b"7", b"max_attempts": b"3"}
    assert expected.items() <= found.fields.items()
    assert found.token.startswith("5/k:")


async def test_cancelled_jobs_are_not_told_although_their_entries_are_there(bench: Bench) -> None:
    await bench.submit("a", "b", "c")
    await bench.cancel("b")
    assert ids(await in_lanes(bench)) == ["a", "c"]


async def test_jobs_that_were_handed_back_are_told_in_their_lane(bench: Bench) -> None:
    await bench.submit("a", "b")
    await bench.take("b1", size=1)
    await bench.release("b1")
    await bench.submit("c")
    assert ids(await in_lanes(bench)) == ["a", "b", "c"]
    assert ids(await in_lanes(bench, "front")) == ["a"]


async def test_what_is_no_job_is_told_with_its_fault(bench: Bench) -> None:
    await bench.submit("good", "bad", "lost")
    await bench.raw.set(bench.keys.job("bad"), "foreign")
    await bench.raw.delete(bench.keys.job("lost"))
    await bench.raw.xadd(bench.keys.lane("main"), {b"\x1b[2J": b"\xff\x00", b"payload": b"xyz"})
    await bench.raw.xadd(bench.keys.lane("main"), {f"f{n}": n for n in range(1_000)})
    jobs = await in_lanes(bench)
    assert [one.fault for one in jobs] == ["", "foreign", "unknown", "garbage", "garbage"]
    assert [one.payload_bytes for one in jobs[3:]] == [3, 0]
    assert jobs[3].fields == {}


async def test_long_values_of_a_foreign_entry_are_left_out(bench: Bench) -> None:
    await bench.raw.xadd(
        bench.keys.lane("main"), {"id": "x" * 10_000, "batch_key": "k", "headers": "h" * 5_000}
    )
    (found,) = await in_lanes(bench)
    assert found.fields == {b"batch_key": b"k"}


@pytest.mark.parametrize("lane", ["main", "5/k"])
async def test_a_lane_that_holds_something_else_is_passed_over(bench: Bench, lane: str) -> None:
    await bench.submit("a")
    await bench.take("b1")
    await bench.release("b1")
    await bench.raw.delete(bench.keys.lane(lane))
    await bench.raw.set(bench.keys.lane(lane), "foreign")
    for which in ("queued", "running", ""):
        jobs = await in_lanes(bench, lane, "front", which=which)
        assert ids(jobs) == ([] if which == "running" else ["a"])


async def test_a_worker_whose_list_is_broken_still_holds_its_jobs(bench: Bench) -> None:
    await bench.submit("a")
    await bench.take("b1")
    await bench.raw.delete(bench.keys.batches("w1"))
    await bench.raw.set(bench.keys.batches("w1"), "foreign")
    (found,) = await in_lanes(bench)
    assert (found.worker, found.batch, found.batch_size) == ("w1", "", 0)


async def test_an_entry_that_was_deleted_while_it_ran_has_nothing_to_tell(bench: Bench) -> None:
    await bench.submit("a", "b")
    first, _ = await bench.take("b1")
    await bench.raw.xdel(bench.keys.lane("main"), first.token.partition(":")[2])
    for which in ("running", ""):
        assert ids(await in_lanes(bench, which=which)) == ["b"]


async def test_everything_waits_where_the_group_is_gone(bench: Bench) -> None:
    await bench.submit("a", "b")
    await bench.take("b1", size=1)
    await bench.raw.xgroup_destroy(bench.keys.lane("main"), "workers")
    assert ids(await in_lanes(bench, which="queued")) == ["a", "b"]
    assert ids(await in_lanes(bench, which="running")) == []


async def test_entries_from_before_a_moment_are_passed_over(bench: Bench) -> None:
    for age_ms in (50_000, 30_000, 10_000):
        await bench.put_old(f"j{age_ms}", age_ms)
    now_ms = await bench.now_ms()
    assert ids(await in_lanes(bench, not_before_ms=now_ms - 40_000, count=1)) == ["j30000", "j10000"]
    assert await in_lanes(bench, not_before_ms=now_ms + 40_000) == []


async def test_a_page_of_large_payloads_is_short_and_goes_on(bench: Bench) -> None:
    for n in range(5):
        await bench.submit(job(f"j{n}", "x" * 600_000))
    page = await bench.run(lane_jobs(bench.keys, LANES))
    assert ids(page.jobs) == ["j0", "j1"]
    assert ids(await in_lanes(bench)) == [f"j{n}" for n in range(5)]


async def test_jobs_that_come_and_go_between_two_pages_move_nobody(bench: Bench) -> None:
    await bench.submit(*(f"j{n}" for n in range(6)))
    first = await bench.run(lane_jobs(bench.keys, ["main"], count=3))
    await bench.settle("b1", await bench.take("b1", size=4))
    await bench.submit("new")
    rest = await bench.run(lane_jobs(bench.keys, ["main"], count=9, after=first.after))
    assert ids(first.jobs + rest.jobs) == ["j0", "j1", "j2", "j4", "j5", "new"]


# --- scheduled --------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 3, 17, 256])
async def test_scheduled_jobs_come_by_their_time_also_where_many_have_the_same(
    bench: Bench, count: int
) -> None:
    names = [f"j{n:02}" for n in range(20)] + ["J", "a-b", "a_b", "a.b"]
    await bench.submit(*(job(name, delay_ms=int(LONG_MS)) for name in names))
    await bench.raw.zadd(bench.keys.scheduled, dict.fromkeys(names, 5_000))
    await bench.submit(job("soon", delay_ms=int(LONG_MS)), job("late", delay_ms=2 * int(LONG_MS)))
    await bench.raw.zadd(bench.keys.scheduled, {"soon": 4_000})
    jobs = await scheduled(bench, count=count)
    assert [one.member.decode() for one in jobs] == ["soon", *sorted(names), "late"]
    assert [one.score for one in jobs[:2]] == ["4000", "5000"]
    assert {one.fault for one in jobs} == {""}
    assert ids(jobs) == [one.member.decode() for one in jobs]


async def test_a_page_of_scheduled_jobs_goes_on_behind_one_that_is_gone(bench: Bench) -> None:
    names = [f"j{n}" for n in range(6)]
    await bench.submit(*(job(name, delay_ms=int(LONG_MS)) for name in names))
    await bench.raw.zadd(bench.keys.scheduled, dict.fromkeys(names, 5_000))
    page = await bench.run(scheduled_jobs(bench.keys, count=3))
    assert page.after == ScheduledPlace("5000", b"j2")
    for name in ("j0", "j2", "j4"):
        await bench.cancel(name)
    rest = await bench.run(scheduled_jobs(bench.keys, after=page.after))
    assert [one.member for one in rest.jobs] == [b"j3", b"j5"]


async def test_a_retry_is_told_with_its_attempt_and_its_error(bench: Bench) -> None:
    await bench.submit("a")
    await bench.retry("b1", await bench.take("b1"), delay_ms=int(LONG_MS))
    (found,) = await scheduled(bench)
    assert found.fields[b"attempt"] == b"1"
    assert found.last_error
    assert found.payload_bytes == len(job("a").payload)


async def test_what_is_scheduled_and_no_job_is_told_with_its_fault(bench: Bench) -> None:
    await bench.submit(job("a", delay_ms=int(LONG_MS)), job("b", delay_ms=int(LONG_MS)), job("c", delay_ms=1))
    await bench.raw.hset(bench.keys.job("a"), "parked", "garbage")
    await bench.raw.set(bench.keys.job("b"), "foreign")
    await bench.raw.zadd(bench.keys.scheduled, {b"\xff\x1b": 1, "c": 2})
    jobs = await scheduled(bench)
    told = {one.member: one.fault for one in jobs}
    assert told == {b"\xff\x1b": "unknown", b"c": "", b"a": "garbage", b"b": "foreign"}


async def test_a_foreign_key_in_the_place_of_the_schedule_holds_no_jobs(bench: Bench) -> None:
    await bench.raw.set(bench.keys.scheduled, "foreign")
    assert await scheduled(bench) == []
    await bench.submit("a")
    assert await bench.run(run_now(bench.keys, ["a"])) == ["foreign"]


# --- records and entries ----------------------------------------------------------------------


async def test_records_are_told_in_short_and_what_is_none_is_left_out(bench: Bench) -> None:
    await bench.submit("good", "bad", "open")
    good, bad = await bench.take("b1", size=2)
    await bench.settle("b1", [good], close=False)
    await bench.settle("b1", [bad], succeeded=False, value=ERROR)
    await bench.raw.set(bench.keys.job("foreign"), "foreign")
    names = ["good", "bad", "open", "foreign", "none"]
    found = {one.local: one for one in (await bench.run(job_records(bench.keys, names))).records}
    assert list(found) == [b"good", b"bad"]
    assert [one.state for one in found.values()] == [b"succeeded", b"failed"]
    assert (found[b"bad"].error, found[b"bad"].attempt) == (ERROR, b"1")
    assert found[b"good"].batch.startswith(b"b1 ")
    assert (found[b"good"].error, found[b"good"].run) == (b"", b"")
    some = (await bench.run(job_records(bench.keys, names, {"failed", "queued", "dead"}))).records
    assert [one.local for one in some] == [b"bad"]


async def test_an_entry_is_told_wherever_its_job_stands(bench: Bench) -> None:
    await bench.submit(job("a", "payload"), job("later", "parked", delay_ms=int(LONG_MS), priority=3))
    for _ in range(2):  # waiting, then running
        found = await bench.run(job_entry(bench.keys, "a"))
        assert found is not None
        assert (found.fields[b"id"], found.payload_bytes) == (b"a", len(job("a", "payload").payload))
        assert b"payload" not in found.fields
        entries = await bench.take("b1")
    whole = await bench.run(job_entry(bench.keys, "a", with_payload=True))
    assert whole is not None
    assert (whole.token, whole.fields[b"payload"]) == (entries[0].token, job("a", "payload").payload)
    parked = await bench.run(job_entry(bench.keys, "later", with_payload=True))
    assert parked is not None
    assert (parked.token, parked.fields[b"priority"]) == ("scheduled", b"3")
    assert parked.fields[b"payload"] == job("later", "parked").payload


async def test_a_job_without_an_entry_has_none(bench: Bench) -> None:
    await bench.submit("a", "b")
    await bench.settle("b1", await bench.take("b1", size=1))
    await bench.raw.set(bench.keys.job("foreign"), "foreign")
    await bench.raw.delete(bench.keys.lane("main"))
    for name in ("a", "b", "foreign", "none"):
        assert await bench.run(job_entry(bench.keys, name)) is None


# --- run_now ----------------------------------------------------------------------------------


async def test_scheduled_jobs_that_are_to_run_now_are_claimed_next(bench: Bench) -> None:
    await bench.submit(job("a", delay_ms=int(LONG_MS)), job("b", delay_ms=int(LONG_MS)), "c")
    assert await bench.run(run_now(bench.keys, ["a", "none", "c"])) == ["due", "unknown", "queued"]
    view = await bench.status("a")
    assert view is not None
    assert abs(int(view.record[b"due_ms"]) - await bench.now_ms()) < LONG_MS / 2
    assert sorted(entry.local for entry in await bench.take("b1")) == ["a", "c"]
    assert (await bench.queue()).scheduled == 1


async def test_a_retry_that_is_to_run_now_counts_its_attempts_on(bench: Bench) -> None:
    await bench.submit("a")
    await bench.retry("b1", await bench.take("b1"), delay_ms=int(LONG_MS))
    assert await bench.run(run_now(bench.keys, ["a"])) == ["due"]
    (entry,) = await bench.take("b2")
    assert (entry.attempt, entry.failures) == (2, 1)


async def test_whoever_is_idle_is_woken_for_a_job_that_is_to_run_now(bench: Bench) -> None:
    await bench.submit(job("a", delay_ms=int(LONG_MS)))
    await bench.claim("b1")
    async with bench.listening(bench.keys.wake_channel("w1")) as worker:
        await bench.run(run_now(bench.keys, ["a"]))
        assert len(await worker.all()) == 1


async def test_a_scheduled_job_whose_place_was_lost_comes_back(bench: Bench) -> None:
    await bench.submit(job("a", delay_ms=int(LONG_MS)))
    await bench.raw.delete(bench.keys.scheduled)
    assert await bench.run(run_now(bench.keys, ["a"])) == ["due"]
    assert [entry.local for entry in await bench.take("b1")] == ["a"]


async def test_a_finished_or_foreign_job_does_not_run_again(bench: Bench) -> None:
    await bench.submit("a")
    await bench.settle("b1", await bench.take("b1"), ttl_ms=TTL_MS)
    await bench.raw.set(bench.keys.job("foreign"), "foreign")
    assert await bench.run(run_now(bench.keys, ["a", "foreign"])) == ["succeeded", "foreign"]


async def test_a_full_server_still_lists_and_hastens(real_bench: Bench) -> None:
    bench = real_bench
    await bench.submit("a", job("b", delay_ms=int(LONG_MS)))
    await bench.raw.config_set("maxmemory", 1)
    try:
        assert ids(await in_lanes(bench)) == ["a"]
        assert ids(await scheduled(bench)) == ["b"]
        assert await bench.run(run_now(bench.keys, ["b"])) == ["due"]
    finally:
        await bench.raw.config_set("maxmemory", 0)
