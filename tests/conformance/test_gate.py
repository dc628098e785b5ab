"""Pause, drain and limits: what leaves and what comes in, who is woken, and what it costs plain jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.conformance.bench import LONG_MS, job

from microbatch.common.limits import BatchLimits
from microbatch.common.schedules.schedule import Schedule
from microbatch.common.scripts import (
    Idle,
    SubmitCode,
    TickJob,
    hold,
    limit,
    schedule_advance,
    schedule_put,
    schedules,
)

if TYPE_CHECKING:
    from tests.conformance.bench import Bench

    from microbatch.common.scripts import HoldAction, QueueGate

HELD = "0 -"


async def hold_up(bench: Bench, action: HoldAction, who: str = "me@here") -> QueueGate:
    return await bench.run(hold(bench.keys, action, who))


async def test_a_paused_queue_accepts_and_nothing_leaves_until_it_is_resumed(bench: Bench) -> None:
    gate = await hold_up(bench, "pause")
    assert gate.paused is not None
    assert gate.paused.who == "me@here"
    assert (await bench.submit("a", "b")).codes is None
    assert isinstance(await bench.claim("b1"), Idle)
    assert isinstance(await bench.claim("b1", wait_ms=LONG_MS, size=1), Idle)
    status = await bench.queue()
    assert (status.waiting, status.running, status.gate) == (2, 0, gate)

    assert await hold_up(bench, "resume") == (await bench.queue()).gate
    assert [entry.local for entry in await bench.take("b1")] == ["a", "b"]


@pytest.mark.parametrize("lane", ["front", "solo"])
async def test_what_was_handed_back_waits_too(bench: Bench, lane: str) -> None:
    await bench.submit("a")
    await bench.take("b1")
    await hold_up(bench, "pause")
    if lane == "front":
        await bench.release("b1")
    else:
        await bench.die("w1")
        await bench.takeover("w1")
    assert isinstance(await bench.claim("b2", "w2"), Idle)
    await hold_up(bench, "resume")
    assert len(await bench.take("b2", "w2")) == 1


async def test_a_due_job_waits_too_and_its_place_is_kept(bench: Bench) -> None:
    await bench.submit(job("a", delay_ms=int(LONG_MS)))
    await bench.make_due("a")
    await hold_up(bench, "pause")
    assert isinstance(await bench.claim("b1"), Idle)
    assert (await bench.record("a"))["state"] == b"scheduled"
    await hold_up(bench, "resume")
    assert len(await bench.take("b1")) == 1


async def test_a_batch_that_runs_is_finished_and_its_claim_may_be_repeated(bench: Bench) -> None:
    await bench.submit("a")
    entries = await bench.take("b1")
    await hold_up(bench, "pause")
    assert [entry.local for entry in await bench.take("b1")] == ["a"]
    await bench.settle("b1", entries)
    assert (await bench.record("a"))["state"] == b"succeeded"


async def test_nobody_is_woken_while_paused_and_the_resumption_wakes_one(bench: Bench) -> None:
    assert isinstance(await bench.claim("b1", "w1"), Idle)
    async with bench.listening(bench.keys.wake_channel("w1")) as wakes:
        await hold_up(bench, "pause")
        await bench.submit("a")
        assert not (await bench.beat("w1", idle=True)).work_waits
        assert isinstance(await bench.claim("b1", "w1"), Idle)
        assert await wakes.all() == []
        assert await bench.watcher() == HELD
        assert await bench.idle() == ["w1"]
        await hold_up(bench, "resume")
        assert await wakes.all() == [b"1"]
    assert len(await bench.take("b1", "w1")) == 1


async def test_heartbeats_keep_the_pause_quiet_and_a_lost_gate_stops_no_wakes(bench: Bench) -> None:
    await hold_up(bench, "pause")
    await bench.raw.pexpire(bench.keys.watcher, 100)
    await bench.beat("w1", idle=True)
    assert await bench.raw.pttl(bench.keys.watcher) > 1_000
    await bench.submit("a")
    await bench.raw.delete(bench.keys.gate)
    assert (await bench.beat("w1", idle=True)).work_waits
    assert await bench.watcher() is None


async def test_a_second_pause_keeps_who_came_first(bench: Bench) -> None:
    first = await hold_up(bench, "pause", "first")
    assert await hold_up(bench, "pause", "second") == first


async def test_a_draining_queue_refuses_new_jobs_and_lets_the_others_finish(bench: Bench) -> None:
    await bench.submit("a", job("b", delay_ms=int(LONG_MS)))
    await hold_up(bench, "drain")
    reply = await bench.submit("a", "c", job("d", delay_ms=5))
    assert reply.codes == [SubmitCode.SAME, SubmitCode.CLOSED, SubmitCode.CLOSED]
    assert await bench.record("c") == await bench.record("d") == {}

    entries = await bench.take("b1")
    await bench.retry("b1", entries)
    assert len(await bench.take("b2")) == 1
    await bench.make_due("b")
    assert [entry.local for entry in await bench.take("b3")] == ["b"]

    await hold_up(bench, "resume")
    assert (await bench.submit("c")).codes is None


async def test_a_drain_ends_a_pause_and_a_pause_keeps_the_queue_closed(bench: Bench) -> None:
    await bench.submit("a")
    await hold_up(bench, "pause")
    assert (await hold_up(bench, "drain")).paused is None
    assert len(await bench.take("b1")) == 1
    both = await hold_up(bench, "pause")
    assert both.paused is not None
    assert both.draining is not None
    assert (await bench.submit("b")).codes == [SubmitCode.CLOSED]


async def test_no_tick_comes_into_a_draining_queue(bench: Bench) -> None:
    definition = Schedule("s", queue="q", every_s=3_600).definition()
    await bench.run(schedule_put(bench.keys, "s", definition, source="code"))
    (view,) = (await bench.run(schedules(bench.keys))).views
    await hold_up(bench, "drain")
    assert not (await bench.beat("w1")).schedules_wait
    tick = await bench.now_ms() + 5_000
    put = [TickJob(tick, "t", b"\x80")]
    assert not await bench.run(
        schedule_advance(bench.keys, view, put=put, take_back=[], last_ms=tick, look_ms=tick)
    )
    await hold_up(bench, "resume")
    assert (await bench.beat("w1")).schedules_wait


async def test_a_gate_that_somebody_broke_holds_nothing_up_and_is_set_aside(bench: Bench) -> None:
    await bench.raw.set(bench.keys.gate, "x")
    await bench.submit("a")
    assert len(await bench.take("b1")) == 1
    assert (await bench.beat("w1", "b1", thorough=True)).aside == ("gate",)


async def test_limits_reach_heartbeats_arrivals_and_submits(bench: Bench) -> None:
    said = {"max_batch_size": "7", "max_wait_ms": "2.5", "max_queue_length": "1"}
    assert await bench.run(limit(bench.keys, said)) == 3
    assert (await bench.beat("w1")).limits == BatchLimits(7, 2.5)
    status = await bench.queue()
    assert (status.max_batch_size, status.max_wait_ms) == (7, 2.5)
    reply = await bench.submit("a", "b")
    assert reply.codes == [SubmitCode.NEW, SubmitCode.FULL]

    assert await bench.run(limit(bench.keys, dict.fromkeys(said, ""))) == 0
    assert not await bench.raw.exists(bench.keys.limits)
    assert (await bench.beat("w1")).limits == BatchLimits()
    assert (await bench.submit("b")).codes is None


async def test_limits_that_somebody_broke_say_nothing(bench: Bench) -> None:
    await bench.raw.hset(bench.keys.limits, mapping={"max_batch_size": "-3", "max_queue_length": "many"})
    assert (await bench.beat("w1")).limits == BatchLimits()
    assert (await bench.submit("a")).codes is None
