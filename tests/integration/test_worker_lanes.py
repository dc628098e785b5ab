"""Priorities and batch keys with real workers: who rides with whom, who goes first; nobody starves."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest
from tests.chaos.kit import Recorder, desk_at, quick, until

from microbatch.producer import AsyncClient, ClientSettings, JobTooCostly, QueueFull, TooManyBatchKeys
from microbatch.worker import Batch, Worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

KEYS = [f"tenant-{n}" for n in range(20)]


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(redis_url) as made:
        yield made


async def test_only_jobs_of_one_key_ever_meet_in_a_processor(any_redis_url: str) -> None:
    recorders = [Recorder(max_batch_size=8, max_wait_ms=2) for _ in range(3)]
    with desk_at(any_redis_url) as desk:
        async with AsyncClient(any_redis_url) as client, AsyncExitStack() as stack:
            for recorder in recorders:
                await stack.enter_async_context(Worker([recorder], settings=quick(any_redis_url)))
            jobs = [
                await client.submit("work", [key, n], batch_key=key, priority=n % 3)
                for n in range(9)
                for key in KEYS
            ]
            results = await asyncio.wait_for(asyncio.gather(*jobs), 20)
        batches = [batch for recorder in recorders for batch in recorder.batches]
        assert results == [[key, n] for n in range(9) for key in KEYS]
        assert all(len({job.batch_key for job in batch}) == 1 for batch in batches)
        assert {(job.batch_key, job.priority) for job in batches[0]} <= {
            (key, n) for key in KEYS for n in range(3)
        }
        assert desk.is_clean()
        assert desk.redis.exists(desk.keys.lanes, desk.keys.forming, desk.keys.ageing, desk.keys.aged) == 0


async def test_the_highest_priority_goes_first_and_is_filled_up(redis_url: str, client: AsyncClient) -> None:
    recorder = Recorder(max_batch_size=3, max_wait_ms=0)
    jobs = [await client.submit("work", priority, priority=priority) for priority in (0, 5, -5, 9)]
    async with Worker([recorder], settings=quick(redis_url)):
        await asyncio.wait_for(asyncio.gather(*jobs), 30)
    assert [batch.payloads for batch in recorder.batches] == [[9, 5, 0], [-5]]


async def test_under_a_permanent_flood_of_high_priority_jobs_a_low_one_still_leaves(
    redis_url: str, client: AsyncClient
) -> None:
    recorder = Recorder(max_batch_size=4, max_wait_ms=0, max_starvation_s=0.3)
    settings = quick(redis_url)
    with desk_at(redis_url) as desk:

        async def flood() -> None:
            while True:  # more waits than the worker takes before the next look
                await client.submit_many("work", range(64), priority=9)
                await until(lambda: desk.status().waiting < 64)

        low = await client.submit("work", "low")
        flooding = asyncio.create_task(flood())
        await until(lambda: desk.status().waiting > 32)
        async with Worker([recorder], settings=settings):
            assert await low.result(timeout_s=20) == "low"
            assert desk.status().waiting > 0
            flooding.cancel()
            await until(lambda: desk.status().waiting == 0)
        with pytest.raises(asyncio.CancelledError):
            await flooding
    place = next(n for n, batch in enumerate(recorder.batches) if "low" in batch.payloads)
    assert place > 0, "it went first"


async def test_a_retried_job_stays_with_its_key(redis_url: str, client: AsyncClient) -> None:
    recorder = Recorder(
        max_batch_size=8, max_wait_ms=0, max_attempts=3, retry_backoff_s=0, on_batch_error="retry"
    )
    failing = True
    answer = recorder.process

    async def process(batch: Batch[Any]) -> list[Any]:
        nonlocal failing
        results = await answer(batch)
        if failing:
            failing = False
            raise ValueError("once")
        return results

    recorder.process = process  # type: ignore[method-assign]
    async with Worker([recorder], settings=quick(redis_url)):
        assert await client.call("work", 1, batch_key="a", priority=2, timeout_s=30) == 1
    assert [(job.batch_key, job.priority, job.attempt) for batch in recorder.batches for job in batch] == [
        ("a", 2, 1),
        ("a", 2, 2),
    ]


async def test_more_keys_than_allowed_are_refused_with_a_typed_error(redis_url: str) -> None:
    async with AsyncClient(settings=ClientSettings(redis_url=redis_url, max_batch_keys=2)) as client:
        for key in ("a", "b", "a"):
            await client.submit("work", 1, batch_key=key)
        with pytest.raises(TooManyBatchKeys, match="max_batch_keys"):
            await client.submit("work", 1, batch_key="c")
        with pytest.raises(TooManyBatchKeys):
            await client.submit_many("work", [1, 2], batch_key="c")
        await client.submit("work", 1)


async def test_all_lanes_together_fill_a_queue(redis_url: str) -> None:
    async with AsyncClient(settings=ClientSettings(redis_url=redis_url, max_queue_length=2)) as client:
        await client.submit("work", 1, batch_key="a")
        await client.submit("work", 1, priority=3)
        with pytest.raises(QueueFull):
            await client.submit("work", 1)


@pytest.mark.parametrize(
    "options",
    [{"priority": 101}, {"priority": 1.5}, {"priority": True}, {"batch_key": ""}, {"batch_key": "a b"}],
)
async def test_what_cannot_be_a_key_or_a_priority_is_refused_before_it_is_sent(
    client: AsyncClient, options: dict[str, object]
) -> None:
    with pytest.raises(ValueError, match=r"priority|batch_key"):
        await client.submit("work", 1, **options)  # type: ignore[arg-type] # that is the test


async def test_a_processor_never_gets_more_cost_than_it_declares(redis_url: str, client: AsyncClient) -> None:
    recorder = Recorder(max_batch_size=100, max_wait_ms=0, max_batch_cost=10)
    costs = [3, 3, 3, 50, 1, 9, 4, 6, 0, 0]
    jobs = [await client.submit("work", n, cost=cost) for n, cost in enumerate(costs)]
    async with Worker([recorder], settings=quick(redis_url)):
        assert await asyncio.wait_for(asyncio.gather(*jobs), 30) == list(range(len(costs)))
    assert [[job.cost for job in batch] for batch in recorder.batches] == [
        [3, 3, 3],
        [50],
        [1, 9],
        [4, 6, 0, 0],
    ]


async def test_a_job_above_max_job_cost_is_refused_at_submit(redis_url: str) -> None:
    async with AsyncClient(settings=ClientSettings(redis_url=redis_url, max_job_cost=100)) as client:
        await client.submit("work", 1, cost=100)
        with pytest.raises(JobTooCostly, match="max_job_cost is 100"):
            await client.submit("work", 1, cost=101)


async def test_a_fleet_keeps_to_the_rate_and_to_the_batches_at_a_time_that_an_operator_allows(
    redis_url: str, client: AsyncClient
) -> None:
    recorders = [Recorder(max_batch_size=4, max_wait_ms=0, concurrency=2) for _ in range(3)]
    limits: dict[Any, Any] = {"jobs_per_s": 40, "burst_s": 0.2, "max_concurrent_batches": 2}
    most = 0
    with desk_at(redis_url) as desk:
        desk.redis.hset(desk.keys.limits, mapping=limits)
        jobs = await client.submit_many("work", range(40))
        async with AsyncExitStack() as stack:
            began_s = asyncio.get_running_loop().time()
            for recorder in recorders:
                await stack.enter_async_context(Worker([recorder], settings=quick(redis_url)))
            for job in jobs:
                await job.result(timeout_s=20)
                in_flight = sum(desk.redis.hlen(key) for key in desk.held_batches())
                most = max(most, in_flight)
            took_s = asyncio.get_running_loop().time() - began_s
        assert desk.is_clean()
    assert took_s >= (40 - 8) / 40 * 0.95
    assert most <= 2


async def test_the_jobs_of_a_limited_queue_leave_when_the_limit_is_lifted(
    redis_url: str, client: AsyncClient
) -> None:
    recorder = Recorder(max_batch_size=4, max_wait_ms=0)
    with desk_at(redis_url) as desk:
        desk.redis.hset(desk.keys.limits, "jobs_per_s", "0")
        async with Worker([recorder], settings=quick(redis_url)):
            job = await client.submit("work", 1)
            keyed = await client.submit("work", 2, batch_key="k")
            await until(lambda: str(desk.redis.get(desk.keys.watcher)).startswith("b'1000000000 "))
            assert recorder.batches == []
            desk.redis.delete(desk.keys.limits)
            assert [await job.result(timeout_s=30), await keyed.result(timeout_s=30)] == [1, 2]
