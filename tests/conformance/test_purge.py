"""purge: every job that waits ends as cancelled, in bounded steps, and the queue goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.conformance.bench import LONG_MS, job

from microbatch.common.scripts import Idle, Purged, Watch, purge

if TYPE_CHECKING:
    from tests.conformance.bench import Bench


async def purge_all(bench: Bench, *, most: int = 256) -> list[int]:
    """How many each step cancelled."""
    steps: list[int] = []
    last: Purged | None = None
    while last is None or last.more:
        last = await bench.run(purge(bench.keys, last, most=most))
        steps.append(last.cancelled)
    return steps


async def test_what_waits_and_what_is_scheduled_is_cancelled_and_told(bench: Bench) -> None:
    await bench.submit("a", "b", job("c", delay_ms=int(LONG_MS)))
    async with bench.listening(bench.keys.reply_channel("c1")) as client:
        assert sum(await purge_all(bench)) == 3
        told = await client.fragments()
    assert sorted(map(str, told)) == [str([local, "cancelled", None]) for local in "abc"]
    for local in "abc":
        record = await bench.record(local)
        assert (record["state"], record.get("entry", b"")) == (b"cancelled", b"")
        assert await bench.raw.pttl(bench.keys.job(local)) > 0
    status = await bench.queue()
    assert (status.waiting, status.running, status.scheduled) == (0, 0, 0)
    assert await bench.lengths() == await bench.pending() == {}
    assert await bench.consumers() == set()
    assert isinstance(await bench.claim("b1"), Idle)
    await bench.submit("d")
    assert [entry.local for entry in await bench.take("b1")] == ["d"]


@pytest.mark.parametrize("lane", ["front", "solo"])
async def test_every_lane_is_purged_and_running_jobs_go_on(bench: Bench, lane: str) -> None:
    await bench.submit("a")
    await bench.take("b1")
    if lane == "front":
        await bench.release("b1")
    else:
        await bench.die("w1")
        await bench.takeover("w1")
    await bench.submit("b")
    running = await bench.take("b2", "w2", size=1)
    await bench.submit("c")
    assert sum(await purge_all(bench)) == 2
    (entry,) = running
    assert await bench.settle("b2", running, "w2") is None
    assert (await bench.record(entry.local))["state"] == b"succeeded"
    assert await bench.lengths() == {}


async def test_what_waits_is_purged_also_where_the_group_is_gone(bench: Bench) -> None:
    await bench.submit("a", "b")
    await bench.raw.xgroup_destroy(bench.keys.lane("main"), "workers")
    assert sum(await purge_all(bench)) == 2
    assert (await bench.record("a"))["state"] == b"cancelled"
    assert await bench.lengths() == {}


async def test_a_step_is_bounded_and_the_steps_end(bench: Bench) -> None:
    await bench.submit(*(f"j{n}" for n in range(7)), *(job(f"s{n}", delay_ms=int(LONG_MS)) for n in range(4)))
    steps = await purge_all(bench, most=3)
    assert max(steps) == 3
    assert sum(steps) == 11


async def test_jobs_that_come_after_its_beginning_stay(bench: Bench) -> None:
    now_ms = await bench.now_ms()
    await bench.submit("a", job("b", delay_ms=int(LONG_MS)))
    for local in "ab":
        await bench.raw.hset(bench.keys.job(local), "enqueued_ms", str(now_ms + 1))
    step = await bench.run(purge(bench.keys, Purged(before_ms=str(now_ms - 1))))
    assert (step.cancelled, step.passed) == (0, "b")
    assert not (await bench.run(purge(bench.keys, step))).more
    assert (await bench.queue()).waiting == 1


async def test_a_job_that_came_later_and_is_due_meanwhile_spares_none_of_the_others(bench: Bench) -> None:
    old = [f"s{n}" for n in range(5)]
    await bench.submit(*(job(local, delay_ms=int(LONG_MS)) for local in ("later", *old)))
    await bench.raw.zadd(bench.keys.scheduled, {"later": (await bench.now_ms()) + int(LONG_MS) // 2})
    await bench.raw.hset(bench.keys.job("later"), "enqueued_ms", str(await bench.now_ms() + int(LONG_MS)))
    step = await bench.run(purge(bench.keys, most=3))
    await bench.make_due("later")
    await bench.take("b1")
    while step.more:
        step = await bench.run(purge(bench.keys, step, most=3))
    assert [(await bench.record(local))["state"] for local in old] == [b"cancelled"] * len(old)


async def test_jobs_that_were_cancelled_before_leave_no_tombstone(bench: Bench) -> None:
    await bench.submit("a", "b")
    await bench.cancel("a")
    assert sum(await purge_all(bench)) == 1
    assert await bench.raw.scard(bench.keys.tombstones) == 0
    assert (await bench.queue()).waiting == 0
    await bench.submit("c")
    assert isinstance(await bench.claim("b1", wait_ms=LONG_MS), Watch)


async def test_entries_that_are_no_jobs_go_and_an_empty_queue_has_nothing_to_purge(bench: Bench) -> None:
    assert await purge_all(bench) == [0]
    await bench.submit("a")
    await bench.raw.xadd(bench.keys.lane("main"), {"x": "y"})
    assert sum(await purge_all(bench)) == 1
    assert await bench.lengths() == {}


async def test_side_lanes_are_purged_and_are_gone_then(bench: Bench) -> None:
    await bench.submit(job("a", batch_key="k"), job("b", batch_key="k"), job("c", priority=3), "d")
    running = await bench.take("b1", size=1)
    assert sum(await purge_all(bench)) == 3
    status = await bench.queue()
    assert (status.waiting, status.running) == (0, 1)
    await bench.settle("b1", running)
    assert not [key async for key in bench.raw.scan_iter("*lane:*/*")]
    await bench.submit(job("e", batch_key="k"))
    assert [entry.local for entry in await bench.take("b2")] == ["e"]
