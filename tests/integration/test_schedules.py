"""Recurring jobs with real workers: exactly one job a tick, on time, through changes, pauses and outages."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
import redis.asyncio as aioredis
from tests.chaos.kit import quick, until

from microbatch.common.keys import QueueKeys
from microbatch.common.schedules.schedule import tick_job
from microbatch.console.admin import Admin
from microbatch.producer import AsyncClient, QueueDraining
from microbatch.worker import Batch, BatchProcessor, ProcessorError, Schedule, Worker, batch_processor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

KEYS = QueueKeys("work")
Ran = list[tuple[str, float]]  # by job id: how late it ran, in seconds


@pytest.fixture
async def admin(redis_url: str) -> AsyncIterator[Admin]:
    async with Admin(redis_url) as admin:
        yield admin


@pytest.fixture
async def raw(redis_url: str) -> AsyncIterator[Any]:
    async with aioredis.Redis.from_url(redis_url) as raw:
        yield raw


def noting(ran: Ran, raw: Any) -> BatchProcessor[Any, Any]:
    @batch_processor(queue="work", max_wait_ms=0)
    async def work(batch: Batch[Any]) -> dict[str, Any]:
        seconds, micros = await raw.time()
        now_s = int(seconds) + int(micros) / 1e6
        for job in batch:
            ran.append((job.id, now_s - job.headers["tick"].timestamp()))
        return {job.id: job.payload for job in batch}

    return work


async def until_put(raw: Any, count: int) -> None:
    """Return once so many jobs wait for their time."""
    async with asyncio.timeout(20):
        while await raw.zcard(KEYS.scheduled) != count:  # noqa: ASYNC110 - it happens in Redis
            await asyncio.sleep(0.01)


async def test_many_workers_run_every_tick_once_and_never_early(
    redis_url: str, raw: Any, admin: Admin
) -> None:
    ran: Ran = []
    every = Schedule("poll", queue="work", every_s=1, payload={"n": 1})
    workers = [Worker([noting(ran, raw), every], settings=quick(redis_url)) for _ in range(3)]
    async with workers[0], workers[1], workers[2]:
        await until(lambda: len(ran) >= 4)
        (status,) = await admin.schedules("work").all()
    assert set(Counter(job_id for job_id, _ in ran).values()) == {1}
    ticks = sorted(job_id for job_id, _ in ran)
    assert len({tick[:-3] for tick in ticks}) <= 2  # consecutive seconds, of one or two minutes or tens
    assert all(late_s >= 0 for _, late_s in ran)
    assert (status.rule, status.source, status.missed) == ("every 1 s", "code", "run_once")
    async with AsyncClient(redis_url) as client:
        assert await client.job(ran[0][0]).result(timeout_s=30) == {"n": 1}


async def test_an_operators_schedule_is_seen_to_by_workers_that_run_already(
    redis_url: str, raw: Any, admin: Admin
) -> None:
    ran: Ran = []
    async with Worker([noting(ran, raw)], settings=quick(redis_url)):
        assert await admin.schedules("work").put(Schedule("s", queue="work", every_s=1)) == "new"
        await until(lambda: len(ran) >= 2)
        assert await admin.schedules("work").remove("s")
        assert await raw.zcard(KEYS.scheduled) == 0
        assert await admin.schedules("work").all() == []


async def test_a_paused_schedule_rests_and_an_edited_one_runs_as_edited(
    redis_url: str, raw: Any, admin: Admin
) -> None:
    ran: Ran = []
    schedules = admin.schedules("work")
    async with Worker([noting(ran, raw)], settings=quick(redis_url)):
        await schedules.put(Schedule("s", queue="work", every_s=3_600))
        await until_put(raw, 1)
        await schedules.pause("s")
        assert await raw.zcard(KEYS.scheduled) == 0
        paused = await schedules.find("s")
        assert paused is not None
        assert paused.paused_at is not None
        assert paused.next_at is None

        assert await schedules.put(Schedule("s", queue="work", every_s=1, payload="edited")) == "changed"
        await schedules.resume("s")
        await until(lambda: bool(ran))
    async with AsyncClient(redis_url) as client:
        assert await client.job(ran[0][0]).result(timeout_s=30) == "edited"


@pytest.mark.parametrize(("missed", "runs"), [("skip", 0), ("run_once", 1), ("run_all", 3)])
async def test_after_an_outage_of_all_workers_the_policy_decides(
    redis_url: str, raw: Any, admin: Admin, missed: Any, runs: int
) -> None:
    hour_ms = 3_600_000
    schedule = Schedule("s", queue="work", every_s=3_600, missed=missed)
    async with Worker([noting([], raw), schedule], settings=quick(redis_url)):
        await until_put(raw, 1)
    # Three hours pass: the tick that was put ahead is three hours old, and two more have come and gone.
    (ahead,) = [int(score) for _, score in await raw.zrange(KEYS.scheduled, 0, -1, withscores=True)]
    old = ahead - 3 * hour_ms
    names = {tick_job("s", ahead): tick_job("s", old)}
    for before, after in names.items():
        await raw.rename(KEYS.job(before), KEYS.job(after))
        parked = (await raw.hget(KEYS.job(after), "parked")).replace(before.encode(), after.encode())
        await raw.hset(KEYS.job(after), mapping={"due_ms": old, "parked": parked})
        await raw.zrem(KEYS.scheduled, before)
        await raw.zadd(KEYS.scheduled, {after: old})
        fields = {"last_ms": old, "ahead": f"{old}/{after}"}
        await raw.hset(KEYS.schedule("s"), mapping=fields)
        await raw.zadd(KEYS.schedules, {"s": old - 10_000})

    ran: Ran = []
    async with Worker([noting(ran, raw), schedule], settings=quick(redis_url)) as worker:
        await until(lambda: len(ran) >= runs)
        await worker.wait_until_dry()
        status = await admin.schedules("work").find("s")
    assert len(ran) == runs
    assert status is not None
    assert status.next_at is not None
    assert round(status.next_at.timestamp() * 1000) == ahead


async def test_run_now_adds_a_job_and_leaves_the_ticks_alone(redis_url: str, raw: Any, admin: Admin) -> None:
    ran: Ran = []
    schedules = admin.schedules("work")
    await schedules.put(Schedule("s", queue="work", cron="0 3 * * *", timezone="Europe/Berlin", payload=7))
    before = await schedules.find("s")
    job_id = await schedules.run_now("s")
    assert job_id is not None
    async with Worker([noting(ran, raw)], settings=quick(redis_url)), AsyncClient(redis_url) as client:
        assert await client.job(job_id).result(timeout_s=30) == 7
        after = await schedules.find("s")
    assert before is not None
    assert after is not None
    assert before.next_at == after.next_at
    assert await schedules.run_now("unknown") is None


async def test_run_now_is_refused_while_its_queue_drains(redis_url: str, raw: Any, admin: Admin) -> None:
    schedules = admin.schedules("work")
    await schedules.put(Schedule("s", queue="work", every_s=3600))
    await admin.control("work").drain()
    with pytest.raises(QueueDraining):
        await schedules.run_now("s")
    assert await raw.keys(KEYS.job("*")) == []


async def test_a_schedule_of_a_later_version_is_left_alone_and_told(
    redis_url: str, raw: Any, admin: Admin, caplog: pytest.LogCaptureFixture
) -> None:
    await admin.schedules("work").put(Schedule("s", queue="work", every_s=1))
    await raw.hset(KEYS.schedule("s"), "timetable", b"\x81\xa1v\x63")
    ran: Ran = []
    good = Schedule("good", queue="work", every_s=1)
    async with Worker([noting(ran, raw), good], settings=quick(redis_url)):
        await until(lambda: len(ran) >= 2)
    assert all("good" in job_id for job_id, _ in ran)
    told = [record.message for record in caplog.records if "left to others" in record.message]
    assert len(told) == 1
    status = await admin.schedules("work").find("s")
    assert status is not None
    assert "does not know" in status.fault


async def test_a_worker_refuses_schedules_that_it_cannot_serve(redis_url: str, raw: Any) -> None:
    work = noting([], raw)
    with pytest.raises(ProcessorError, match="no processor"):
        Worker([work, Schedule("s", queue="other", every_s=1)], settings=quick(redis_url))
    twice = [Schedule("s", queue="work", every_s=n) for n in (1, 2)]
    with pytest.raises(ProcessorError, match="two schedules"):
        Worker([work, *twice], settings=quick(redis_url))
    with pytest.raises(ProcessorError, match="at least one processor"):
        Worker([Schedule("s", queue="work", every_s=1)], settings=quick(redis_url))


async def test_an_idle_worker_with_schedules_makes_few_calls(redis_url: str, raw: Any) -> None:
    schedules = [Schedule(f"s{n}", queue="work", every_s=3_600 + n) for n in range(20)]
    async with Worker([noting([], raw), *schedules], settings=quick(redis_url)):
        await until_put(raw, 20)
        await raw.config_resetstat()
        beats = 0
        while beats < 4:
            stats = await raw.info("commandstats")
            beats = int(stats.get("cmdstat_evalsha", {}).get("calls", 0))
            await asyncio.sleep(0.05)
        assert await raw.zcard(KEYS.scheduled) == 20
        names = (await raw.info("commandstats")).keys()
    assert "cmdstat_zrangebyscore" in names  # beats
    assert "cmdstat_zscore" not in names  # and nobody reads a schedule


async def test_a_worker_starts_on_a_full_server_and_its_ticks_come_once_there_is_room(
    redis_url: str, raw: Any, admin: Admin
) -> None:
    ran: Ran = []
    await raw.config_set("maxmemory", 1)
    try:
        async with Worker(
            [noting(ran, raw), Schedule("s", queue="work", every_s=1)], settings=quick(redis_url)
        ):
            assert len(await admin.schedules("work").all()) == 1
            assert await raw.zcard(KEYS.scheduled) == 0
            await raw.config_set("maxmemory", 0)
            await until(lambda: len(ran) >= 1)
    finally:
        await raw.config_set("maxmemory", 0)
