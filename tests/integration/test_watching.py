"""Watching: one job to its end, whatever is lost on the way; and all jobs of a queue."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from tests.chaos.kit import Desk, desk_at, quick, until

from microbatch.console.main import main
from microbatch.producer import AsyncClient, Client, JobUpdate, ResultNotFound, watching
from microbatch.worker import Batch, Retry, Worker, batch_processor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from microbatch.producer import AsyncJobHandle


@pytest.fixture
def desk(redis_url: str) -> Iterator[Desk]:
    with desk_at(redis_url) as made:
        yield made


@batch_processor(queue="work", max_wait_ms=0)
async def twice(batch: Batch[str]) -> list[object]:
    for job in batch:
        job.progress(0.5, "half")
        job.log.info("run %d", job.attempt)
    return [Retry("again", delay_s=0) if job.attempt == 1 else "done" for job in batch]


def named(updates: list[JobUpdate]) -> list[str]:
    return [update.event for update in updates]


async def to_the_end(job: AsyncJobHandle, into: list[JobUpdate]) -> None:
    async for update in job.subscribe():
        into.append(update)  # noqa: PERF401 - it is read while it grows


async def is_listening(desk: Desk) -> None:
    await until(lambda: desk.redis.exists(desk.keys.listeners))


async def test_a_subscriber_sees_the_state_first_then_all_that_happens_and_last_the_end(desk: Desk) -> None:
    async with AsyncClient(desk.url) as client:
        job = await client.submit("work", "x")
        updates: list[JobUpdate] = []
        watching_it = asyncio.create_task(to_the_end(job, updates))
        await until(lambda: updates)
        assert named(updates) == ["submitted"]
        async with Worker([twice], settings=quick(desk.url)):
            await asyncio.wait_for(watching_it, 20)

    changes = [update.event for update in updates if update.event not in {"progress", "log"}]
    assert changes == ["submitted", "claimed", "retried", "promoted", "claimed", "succeeded"]
    assert [update.line.text for update in updates if update.line] == ["run 1", "run 2"]
    assert {update.progress.text for update in updates if update.progress} == {"half"}
    assert updates[-1].event == "succeeded"


async def test_a_lost_message_costs_time_and_nothing_else(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "LOOK_EVERY_S", 0.05)
    async with AsyncClient(desk.url) as client:
        job = await client.submit("work", "x")
        updates: list[JobUpdate] = []
        watching_it = asyncio.create_task(to_the_end(job, updates))
        await until(lambda: updates)
        desk.redis.delete(desk.keys.listeners)  # nobody is told anything any more
        async with Worker([twice], settings=quick(desk.url)):
            await asyncio.wait_for(watching_it, 20)
    changes = [update.event for update in updates if update.event not in {"progress", "log"}]
    assert changes == ["submitted", "claimed", "retried", "promoted", "claimed", "succeeded"]


async def test_a_job_that_has_ended_shows_its_log_and_its_end(desk: Desk) -> None:
    async with AsyncClient(desk.url) as client, Worker([twice], settings=quick(desk.url)):
        job = await client.submit("work", "x")
        await job.result(timeout_s=30)
        updates: list[JobUpdate] = []
        await asyncio.wait_for(to_the_end(client.job(job.id), updates), 30)
        assert named(updates) == ["progress", "log", "log", "succeeded"]
        with pytest.raises(ResultNotFound):
            await to_the_end(client.job("work/nobody"), [])


async def test_a_job_whose_record_is_not_kept_ends_by_its_message(desk: Desk) -> None:
    async with AsyncClient(desk.url) as client:
        job = await client.submit("work", "x", result_ttl_s=0)
        updates: list[JobUpdate] = []
        watching_it = asyncio.create_task(to_the_end(job, updates))
        await until(lambda: updates)
        async with Worker([twice], settings=quick(desk.url)):
            await asyncio.wait_for(watching_it, 20)
    assert updates[-1].event == "succeeded"


async def test_a_closed_iterator_leaves_nothing_behind(desk: Desk) -> None:
    async with AsyncClient(desk.url) as client:
        job = await client.submit("work", "x")
        async for update in job.subscribe():
            assert update.event == "submitted"
            break
        channel = desk.keys.events_channel(job.id.partition("/")[2])
        await asyncio.sleep(0)  # the generator is closed by the loop

        def is_silent() -> bool:
            ((_, count),) = desk.redis.pubsub_numsub(channel)
            return count == 0

        await until(is_silent)


async def test_a_queues_events_come_from_all_of_its_jobs(desk: Desk) -> None:
    async with AsyncClient(desk.url) as client:
        updates: list[JobUpdate] = []

        async def listen() -> None:
            async for update in client.events("work"):
                updates.append(update)
                if sum(update.state.is_final for update in updates) == 2:
                    return

        listening = asyncio.create_task(listen())
        await is_listening(desk)
        jobs = await client.submit_many("work", ["x", "y"])
        async with Worker([twice], settings=quick(desk.url)) as worker:
            await asyncio.wait_for(listening, 20)

    for job in jobs:
        mine = [update for update in updates if update.id == job.id]
        changes = [update.event for update in mine if update.event not in {"progress", "log"}]
        assert changes == ["submitted", "claimed", "retried", "promoted", "claimed", "succeeded"]
        assert [update.line.text for update in mine if update.line] == ["run 1", "run 2"]
        assert {update.worker for update in mine} == {None, worker.id}


async def test_where_nobody_listens_nothing_is_published_but_results(desk: Desk) -> None:
    async with AsyncClient(desk.url) as client, Worker([twice], settings=quick(desk.url)):
        await client.call("work", "warm", timeout_s=30)
        with desk.redis.pubsub() as ear:
            ear.psubscribe(desk.keys.prefix + "*")
            await client.call("work", "x", timeout_s=30)
            heard = set()
            while (message := ear.get_message(timeout=0.2)) is not None:
                if message["type"] == "pmessage":
                    heard.add(message["channel"].decode().removeprefix(desk.keys.prefix).partition(":")[0])
    assert heard <= {"reply", "wake"}
    assert not desk.redis.exists(desk.keys.listeners)


def test_the_blocking_client_and_the_command_show_the_same(
    redis_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MICROBATCH_REDIS_URL", redis_url)

    async def work() -> str:
        async with AsyncClient(redis_url) as client, Worker([twice], settings=quick(redis_url)):
            job = await client.submit("work", "x")
            await job.result(timeout_s=30)
            return job.id

    job_id = asyncio.run(work())
    with Client(redis_url) as client:
        assert named(list(client.job(job_id).subscribe())) == ["progress", "log", "log", "succeeded"]
        for update in client.job(job_id).subscribe():
            assert update.event == "progress"
            break
    assert main(["events", job_id]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[2] for line in lines] == ["progress", "log", "log", "succeeded"]
    assert main(["events", "work/nobody"]) == 3
    assert main(["events", "no good name"]) == 2
