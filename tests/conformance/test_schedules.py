"""Schedules: declared once; one worker of many puts a tick's job; what was put ahead goes with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.conformance.bench import Bench, job

from microbatch.common import scripts
from microbatch.common.codec import decode, encode
from microbatch.common.errors import ServerFull
from microbatch.common.schedules.schedule import Schedule, tick_headers, tick_job
from microbatch.common.scripts import Idle, TickJob

if TYPE_CHECKING:
    from microbatch.common.schedules.schedule import Definition
    from microbatch.common.scripts import ScheduleAction, ScheduleView

HOUR_MS = 3_600_000
HEADERS = encode({"schedule": "s"})


def definition(**more: Any) -> Definition:
    return Schedule("s", queue="q", payload={"n": 1}, **({"every_s": 3_600} | more)).definition()


async def declare(bench: Bench, name: str = "s", *, limit: int = 1_000, **more: Any) -> str:
    call = scripts.schedule_put(bench.keys, name, definition(**more), source="code", limit=limit)
    return await bench.run(call)


async def change(bench: Bench, action: ScheduleAction, name: str = "s") -> bool:
    return await bench.run(scripts.schedule_change(bench.keys, name, action))


async def views(bench: Bench, which: Any = "all", *names: str) -> list[ScheduleView]:
    return (await bench.run(scripts.schedules(bench.keys, which, *names))).views


async def view(bench: Bench) -> ScheduleView:
    (found,) = await views(bench)
    return found


async def advance(
    bench: Bench,
    *ticks: int,
    seen: ScheduleView | None = None,
    take_back: tuple[int, ...] = (),
    look_ms: int | None = 5,
    expires_ms: int | None = None,
) -> bool:
    seen = seen or await view(bench)
    put = [TickJob(tick, tick_job("s", tick), tick_headers(HEADERS, tick), expires_ms) for tick in ticks]
    old = [TickJob(tick, tick_job("s", tick)) for tick in take_back]
    last_ms = max([*ticks, seen.number("last_ms") or 0])
    call = scripts.schedule_advance(
        bench.keys, seen, put=put, take_back=old, last_ms=last_ms, look_ms=look_ms
    )
    return await bench.run(call)


async def in_an_hour(bench: Bench) -> int:
    return await bench.now_ms() + HOUR_MS


async def test_a_new_schedule_wants_a_look_at_once_and_the_heartbeat_says_so(bench: Bench) -> None:
    assert not (await bench.beat()).schedules_wait
    assert await declare(bench) == "new"
    assert (await bench.beat()).schedules_wait
    assert [seen.name for seen in await views(bench, "due")] == ["s"]
    assert await advance(bench, look_ms=await in_an_hour(bench))
    assert not (await bench.beat()).schedules_wait
    assert await views(bench, "due") == []
    assert [seen.name for seen in await views(bench, "named", "s", "unknown")] == ["s"]


async def test_a_ticks_job_waits_for_its_time_and_carries_what_the_schedule_says(bench: Bench) -> None:
    tick = await in_an_hour(bench)
    await declare(bench, max_attempts=3, result_ttl_s=60)
    assert await advance(bench, tick, expires_ms=tick + 5)

    local = tick_job("s", tick)
    record = await bench.record(local)
    assert (record["state"], int(record["due_ms"])) == (b"scheduled", tick)
    assert (await view(bench)).waiting == [tick]
    assert isinstance(await bench.claim("b1"), Idle)

    await bench.make_due(local)
    (entry,) = await bench.take("b2")
    assert (entry.local, entry.client, entry.attempt) == (local, "", 1)
    assert decode(entry.payload) == {"n": 1}
    assert decode(entry.headers)["schedule"] == "s"
    assert round(decode(entry.headers)["tick"].timestamp() * 1000) == tick
    assert (entry.max_attempts, entry.ttl_ms, entry.expires_ms) == (3, "60000", tick + 5)
    assert (await view(bench)).waiting == []


async def test_a_ticks_job_goes_to_the_lane_of_its_priority_and_key(bench: Bench) -> None:
    tick = await in_an_hour(bench)
    await declare(bench, priority=-5, batch_key="model-a")
    await advance(bench, tick)
    await bench.make_due(tick_job("s", tick))
    (entry,) = await bench.take("b1")
    assert entry.token.startswith("-5/model-a:")


async def test_of_many_workers_with_one_plan_one_puts_the_job(bench: Bench) -> None:
    await declare(bench)
    seen, tick = await view(bench), await in_an_hour(bench)
    assert [await advance(bench, tick, seen=seen) for _ in range(3)] == [True, False, False]
    assert await bench.raw.zcard(bench.keys.scheduled) == 1


async def test_a_plan_for_an_older_revision_does_nothing_although_the_position_is_the_same(
    bench: Bench,
) -> None:
    await declare(bench)
    seen, tick = await view(bench), await in_an_hour(bench)
    await declare(bench, every_s=60)
    await bench.raw.hset(bench.keys.schedule("s"), "last_ms", seen.fields[b"last_ms"])
    assert not await advance(bench, tick, seen=seen)
    assert await bench.record(tick_job("s", tick)) == {}


async def test_a_tick_whose_id_is_known_gets_no_second_job(bench: Bench) -> None:
    tick = await in_an_hour(bench)
    await bench.submit(job(tick_job("s", tick)))
    await declare(bench)
    assert await advance(bench, tick)
    assert (await bench.record(tick_job("s", tick)))["state"] == b"queued"
    assert await bench.raw.zcard(bench.keys.scheduled) == 0


async def test_the_same_declaration_changes_nothing_and_another_one_begins_anew(bench: Bench) -> None:
    tick = await in_an_hour(bench)
    await declare(bench)
    await advance(bench, tick, look_ms=tick)
    before = await view(bench)
    assert await declare(bench) == "same"
    assert await view(bench) == before

    assert await declare(bench, every_s=60) == "changed"
    assert await bench.record(tick_job("s", tick)) == {}
    assert await bench.raw.zcard(bench.keys.scheduled) == 0
    after = await view(bench)
    assert (after.waiting, after.fields[b"revision"]) == ([], b"2")
    assert not await advance(bench, tick, seen=before)
    assert (await bench.beat()).schedules_wait


@pytest.mark.parametrize("action", ["pause", "remove"])
async def test_what_was_put_ahead_goes_and_what_is_due_stays(bench: Bench, action: ScheduleAction) -> None:
    now, tick = await bench.now_ms(), await in_an_hour(bench)
    await declare(bench)
    seen = await view(bench)
    assert await advance(bench, now - 1, tick)
    assert await change(bench, action)
    assert await bench.record(tick_job("s", tick)) == {}
    assert [entry.local for entry in await bench.take("b1")] == [tick_job("s", now - 1)]
    assert not await advance(bench, tick, seen=seen)
    assert not (await bench.beat()).schedules_wait


async def test_a_later_attempt_of_a_ticks_job_is_not_taken_back(bench: Bench) -> None:
    await declare(bench)
    tick = await bench.now_ms() - 1
    await advance(bench, tick)
    entries = await bench.take("b1")
    await bench.retry("b1", entries, delay_ms=HOUR_MS)
    assert (await view(bench)).waiting == []
    assert await advance(bench, take_back=(tick,))
    await change(bench, "remove")
    assert (await bench.record(tick_job("s", tick)))["state"] == b"scheduled"


async def test_a_paused_schedule_stays_so_through_declarations_and_begins_at_its_resumption(
    bench: Bench,
) -> None:
    tick = await in_an_hour(bench)
    await declare(bench)
    await advance(bench, tick, look_ms=tick)
    await change(bench, "pause")
    assert await declare(bench) == "same"
    assert await declare(bench, every_s=60) == "changed"
    assert not (await bench.beat()).schedules_wait
    assert not await advance(bench, tick)

    await bench.raw.hset(bench.keys.schedule("s"), "last_ms", "5")  # time passes
    assert await change(bench, "resume")
    assert (await bench.beat()).schedules_wait
    resumed = await view(bench)
    assert (resumed.number("last_ms") or 0) > HOUR_MS
    assert b"paused" not in resumed.fields
    assert await advance(bench, tick)  # the same tick again: its id is free


async def test_a_schedule_that_is_not_there_cannot_be_changed(bench: Bench) -> None:
    for action in ("pause", "resume", "remove"):
        assert not await change(bench, action)


async def test_pausing_twice_and_resuming_twice_is_once(bench: Bench) -> None:
    await declare(bench)
    for action in ("pause", "pause", "resume", "resume"):
        assert await change(bench, action)
    assert (await view(bench)).fields[b"revision"] == b"3"


async def test_missed_jobs_are_taken_back_and_their_ids_are_free(bench: Bench) -> None:
    now, tick = await bench.now_ms(), await in_an_hour(bench)
    await declare(bench)
    await advance(bench, now - 3, now - 2, now - 1)
    assert await advance(bench, tick, take_back=(now - 3, now - 2))
    assert (await view(bench)).waiting == [now - 1, tick]
    assert [entry.local for entry in await bench.take("b1")] == [tick_job("s", now - 1)]


async def test_a_queue_has_no_more_schedules_than_it_may(bench: Bench) -> None:
    assert await declare(bench, "s", limit=1) == "new"
    assert await declare(bench, "t", limit=1) == "full"
    assert await declare(bench, "s", limit=1, every_s=60) == "changed"
    assert [seen.name for seen in await views(bench)] == ["s"]


async def test_a_schedule_whose_hash_somebody_deleted_is_forgotten(bench: Bench) -> None:
    await declare(bench)
    await bench.raw.delete(bench.keys.schedule("s"))
    assert await views(bench) == []  # who only looks does not see it, and leaves it to a worker
    await bench.raw.zadd(bench.keys.schedules, {"s": 1})
    assert (await bench.beat()).schedules_wait
    assert await views(bench, "due") == []
    assert not (await bench.beat()).schedules_wait
    assert await declare(bench) == "new"


async def test_a_due_job_wakes_an_idle_worker(bench: Bench) -> None:
    await declare(bench)
    assert isinstance(await bench.claim("b1"), Idle)
    async with bench.listening(bench.keys.wake_channel("w1")) as worker:
        await advance(bench, await bench.now_ms() + 300)
        assert await worker.all() == [b"1"]


async def test_what_something_else_wrote_over_a_schedule_is_set_aside(bench: Bench) -> None:
    await declare(bench)
    await bench.raw.delete(bench.keys.schedule("s"))
    await bench.raw.set(bench.keys.schedule("s"), "oops")
    assert await declare(bench) == "new"
    assert await bench.raw.get(bench.keys.aside("schedule:s")) == b"oops"
    assert [seen.name for seen in await views(bench, "due")] == ["s"]


async def test_a_full_server_refuses_ticks_and_lets_everybody_declare_and_operators_act(
    real_bench: Bench,
) -> None:
    tick = await in_an_hour(real_bench)
    await declare(real_bench)
    await advance(real_bench, tick)
    await real_bench.raw.config_set("maxmemory-policy", "noeviction")
    await real_bench.raw.config_set("maxmemory", 1)
    try:
        assert await declare(real_bench) == "same"
        with pytest.raises(ServerFull):
            await advance(real_bench, tick + 1)
        assert (await view(real_bench)).waiting == [tick]
        assert (await real_bench.beat()).schedules_wait
        for action in ("pause", "resume", "remove"):
            assert await change(real_bench, action)
        assert await views(real_bench) == []
        assert await declare(real_bench) == "new"
        assert await real_bench.record(tick_job("s", tick)) == {}
    finally:
        await real_bench.raw.config_set("maxmemory", 0)


async def test_a_purge_takes_the_jobs_of_ticks_that_are_due_and_leaves_those_that_were_put_ahead(
    bench: Bench,
) -> None:
    due, ahead = await bench.now_ms() - 1, await in_an_hour(bench)
    await declare(bench)
    await bench.submit(job("a", delay_ms=HOUR_MS))
    assert await advance(bench, due, ahead)
    step = await bench.run(scripts.purge(bench.keys))
    while step.more:
        assert step.cancelled in {0, 2}
        step = await bench.run(scripts.purge(bench.keys, step))

    states = {
        local: (await bench.record(local))["state"]
        for local in ("a", tick_job("s", due), tick_job("s", ahead))
    }
    assert list(states.values()) == [b"cancelled", b"cancelled", b"scheduled"]
    assert (await view(bench)).waiting == [ahead]
    assert await change(bench, "pause")
    assert await bench.record(tick_job("s", ahead)) == {}


async def test_a_broken_schedule_stops_no_purge(bench: Bench) -> None:
    await declare(bench)
    await bench.raw.delete(bench.keys.schedule("s"))
    await bench.raw.set(bench.keys.schedule("s"), "oops")
    await bench.submit("a", job("b", delay_ms=HOUR_MS))
    assert (await bench.run(scripts.purge(bench.keys))).cancelled == 2
