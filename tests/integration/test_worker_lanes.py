"""Priorities and batch keys with real workers: who rides with whom, who goes first; nobody starves."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest
from tests.chaos.kit import Recorder, desk_at, quick, until

from microbatch.producer import AsyncClient, ClientSettings, QueueFull, TooManyBatchKeys
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
        await asyncio.wait_for(asyncio.gather(*jobs), 10)
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
                await until(lambda: desk.status().waiting < 64, 20)

        low = await client.submit("work", "low")
        flooding = asyncio.create_task(flood())
        await until(lambda: desk.status().waiting > 32, 10)
        async with Worker([recorder], settings=settings):
            assert await low.result(timeout_s=20) == "low"
            assert desk.status().waiting > 0
            flooding.cancel()
            await until(lambda: desk.status().waiting == 0, 20)
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
        assert await client.call("work", 1, batch_key="a", priority=2, timeout_s=10) == 1
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
