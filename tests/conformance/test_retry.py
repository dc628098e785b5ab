"""Retries, delays and promotion: a job waits in its record for its time, and comes back as the same job."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.conformance.bench import OK, job

from microbatch.common.scripts import Idle, SettleCode, SubmitCode, Watch

if TYPE_CHECKING:
    from tests.conformance.bench import Bench


LATER_MS = 100_000
SECOND_MS = 1_000


async def test_a_retried_job_waits_in_its_record_and_comes_back_with_one_more_attempt(bench: Bench) -> None:
    await bench.submit(job("a", "payload", max_attempts=5))
    (first,) = await bench.take("b1")
    assert await bench.retry("b1", [first], delay_ms=LATER_MS) is None

    record = await bench.record("a")
    assert record["state"] == b"scheduled"
    assert record["last_error"] == OK
    assert "error" not in record
    assert await bench.lengths() == {}
    assert await bench.pending() == {}
    assert await bench.batches() == {}

    await bench.make_due("a")
    (second,) = await bench.take("b2", "w2")
    assert (second.attempt, second.max_attempts, second.payload) == (2, 5, first.payload)
    assert (second.client, second.enqueued_ms) == (first.client, first.enqueued_ms)
    assert "parked" not in await bench.record("a")
    assert await bench.settle("b2", [second], "w2") is None
    assert (await bench.record("a"))["state"] == b"succeeded"
    assert await bench.raw.zcard(bench.keys.scheduled) == 0


async def test_a_job_that_is_not_due_is_not_run(bench: Bench) -> None:
    await bench.submit("a")
    await bench.retry("b1", await bench.take("b1"), delay_ms=LATER_MS)
    assert isinstance(await bench.claim("b2"), Idle)
    assert (await bench.record("a"))["state"] == b"scheduled"


async def test_a_retry_without_a_delay_is_claimed_next(bench: Bench) -> None:
    await bench.submit("a")
    await bench.retry("b1", await bench.take("b1"))
    (again,) = await bench.take("b2")
    assert (again.local, again.attempt) == ("a", 2)


async def test_the_same_retry_settled_twice_is_a_replay_also_after_the_job_came_back(bench: Bench) -> None:
    await bench.submit("a")
    entries = await bench.take("b1")
    assert await bench.retry("b1", entries) is None
    assert await bench.retry("b1", entries) == [SettleCode.REPLAY]
    await bench.take("b2", "w2")
    assert await bench.retry("b1", entries) == [SettleCode.REPLAY]
    assert await bench.raw.zcard(bench.keys.scheduled) == 0


async def test_a_zombie_cannot_retry_what_was_taken_over(bench: Bench) -> None:
    await bench.submit("a")
    entries = await bench.take("b1")
    await bench.die("w1")
    await bench.takeover("w1")
    assert await bench.retry("b1", entries) == [SettleCode.MOVED]
    assert (await bench.record("a"))["state"] == b"queued"


async def test_a_zombie_cannot_settle_a_job_that_was_retried_by_another_worker(bench: Bench) -> None:
    await bench.submit("a")
    old = await bench.take("b1")
    await bench.die("w1")
    await bench.takeover("w1")
    await bench.retry("b2", await bench.take("b2", "w2"), delay_ms=LATER_MS, worker="w2")
    assert await bench.settle("b1", old) == [SettleCode.MOVED]
    assert (await bench.record("a"))["state"] == b"scheduled"


async def test_a_retry_whose_entry_was_deleted_fails_instead_of_vanishing(bench: Bench) -> None:
    await bench.submit("a")
    entries = await bench.take("b1")
    await bench.raw.xdel(bench.keys.lane("main"), entries[0].token.partition(":")[2])
    await bench.retry("b1", entries, delay_ms=LATER_MS)
    assert (await bench.record("a"))["state"] == b"failed"


async def test_an_idle_worker_watches_for_a_job_that_is_due_soon_and_only_one_does(bench: Bench) -> None:
    await bench.submit(job("a", delay_ms=SECOND_MS // 2))
    reply = await bench.claim("b1", "w1", wait_ms=5)
    assert isinstance(reply, Watch)
    assert 0 < reply.wait_s <= SECOND_MS / 2000
    assert isinstance(await bench.claim("b2", "w2", wait_ms=5), Idle)


async def test_nobody_watches_for_what_is_far_away(bench: Bench) -> None:
    await bench.submit(job("a", delay_ms=LATER_MS))
    assert isinstance(await bench.claim("b1", wait_ms=5), Idle)
    assert await bench.watcher() is None
    assert not (await bench.beat("w1", idle=True)).work_waits


async def test_a_heartbeat_says_that_somebody_should_watch_for_what_is_due_soon(bench: Bench) -> None:
    await bench.submit(job("a", delay_ms=SECOND_MS // 2))
    assert (await bench.beat("w1", idle=True)).work_waits


async def test_scheduling_something_soon_wakes_an_idle_worker(bench: Bench) -> None:
    await bench.claim("b1", "w1")
    async with bench.listening(bench.keys.wake_channel("w1")) as heard:
        await bench.submit(job("far", delay_ms=LATER_MS))
        assert await heard.all() == []
        await bench.submit(job("near", delay_ms=SECOND_MS // 2))
        assert await heard.all() == [b"1"]


async def test_a_delayed_job_is_scheduled_and_counts_against_the_limit(bench: Bench) -> None:
    await bench.submit(job("a", delay_ms=LATER_MS), job("b", due_ms=await bench.now_ms() + LATER_MS))
    assert (await bench.record("a"))["state"] == b"scheduled"
    assert (await bench.queue()).scheduled == 2
    reply = await bench.submit("c", limit=2)
    assert reply.codes == [SubmitCode.FULL]


async def test_a_moment_in_the_past_means_now(bench: Bench) -> None:
    await bench.submit(job("a", due_ms=5), job("b", delay_ms=0))
    assert [entry.local for entry in await bench.take("b1")] == ["a", "b"]


async def test_headers_and_all_options_survive_the_wait(bench: Bench) -> None:
    headers = b"\x81\xa1k\xa1\n"  # with a line feed inside
    await bench.submit(job("a", headers=headers, ttl_ms="77", max_attempts=9, delay_ms=LATER_MS))
    await bench.make_due("a")
    (entry,) = await bench.take("b1")
    assert (entry.headers, entry.ttl_ms, entry.max_attempts) == (headers, "77", 9)


async def test_promotion_is_bounded_per_call_and_keeps_the_order_of_due_times(bench: Bench) -> None:
    names = [f"j{n:03}" for n in range(300)]
    await bench.submit(*(job(name, delay_ms=LATER_MS + n) for n, name in enumerate(names)), limit=1_000)
    await bench.raw.zadd(bench.keys.scheduled, {name: n + 1 for n, name in enumerate(names)})
    first = await bench.take("b1", size=1_000)
    second = await bench.take("b2", size=1_000)
    assert [entry.local for entry in first] == names[:256]
    assert [entry.local for entry in second] == names[256:]


async def test_a_scheduled_id_without_a_record_is_dropped(bench: Bench) -> None:
    await bench.make_due("ghost")
    assert isinstance(await bench.claim("b1"), Idle)
    assert await bench.raw.zcard(bench.keys.scheduled) == 0


async def test_a_full_server_still_retries_what_it_has(real_bench: Bench) -> None:
    bench = real_bench
    await bench.submit("a")
    entries = await bench.take("b1")
    await bench.raw.config_set("maxmemory", 1)
    try:
        assert await bench.retry("b1", entries) is None
        (again,) = await bench.take("b2")
        assert again.attempt == 2
    finally:
        await bench.raw.config_set("maxmemory", 0)


async def test_what_is_due_counts_as_waiting_before_anybody_promoted_it(bench: Bench) -> None:
    await bench.submit(job("due", delay_ms=LATER_MS), job("later", delay_ms=LATER_MS))
    await bench.make_due("due")
    status = await bench.queue()
    assert (status.waiting, status.running, status.scheduled) == (1, 0, 1)
