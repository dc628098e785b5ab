"""Retries, deadlines, delays and cancelling, from the SDK through a real server to a processor and back."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from tests.chaos.kit import quick, until

from microbatch.producer import (
    AsyncClient,
    Client,
    JobCancelled,
    JobExpired,
    JobFailed,
    JobState,
    ResultNotFound,
)
from microbatch.worker import Batch, BatchProcessor, Job, Retry, Worker, batch_processor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

FAST: dict[str, Any] = {"retry_backoff_s": 0.01}


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(redis_url) as client:
        yield client


def failing(times: int, error: Exception, **declared: Any) -> BatchProcessor[Any, Any]:
    """A processor that fails each job so often, and then answers with the run that succeeded."""

    @batch_processor(queue="work", max_wait_ms=0, **FAST, **declared)
    async def process(batch: Batch[Any]) -> dict[str, Any]:
        return {job.id: error if job.attempt <= times else job.attempt for job in batch}

    return process


async def test_a_failing_job_is_run_again_until_it_succeeds(client: AsyncClient, redis_url: str) -> None:
    async with Worker([failing(2, OSError("flaky"), max_attempts=3)], settings=quick(redis_url)):
        assert await client.call("work", 1, timeout_s=30) == 3


async def test_a_job_that_fails_in_every_run_ends_with_its_last_error(
    client: AsyncClient, redis_url: str
) -> None:
    async with Worker([failing(9, OSError("flaky"), max_attempts=3)], settings=quick(redis_url)):
        job = await client.submit("work", 1)
        with pytest.raises(JobFailed, match="OSError: flaky"):
            await job.result(timeout_s=30)
        status = await job.status()

    assert (status.state, status.attempt) == (JobState.FAILED, 3)
    assert (await client.queue_status("work")).dead == 1


async def test_the_submit_may_name_the_number_of_runs(client: AsyncClient, redis_url: str) -> None:
    async with Worker([failing(2, OSError("flaky"))], settings=quick(redis_url)):
        assert await client.call("work", 1, max_attempts=3, timeout_s=30) == 3
        with pytest.raises(JobFailed):
            await client.call("work", 1, max_attempts=2, timeout_s=30)
        with pytest.raises(JobFailed):
            await client.call("work", 1, timeout_s=30)


async def test_a_processor_that_asks_for_another_run_gets_it_after_its_delay(
    client: AsyncClient, redis_url: str
) -> None:
    async with Worker([failing(1, Retry("not yet", delay_s=0.3))], settings=quick(redis_url)):
        job = await client.submit("work", 1)
        assert await job.result(timeout_s=30) == 2
        status = await job.status()

    assert status.enqueued_at is not None
    assert status.started_at is not None
    assert status.started_at - status.enqueued_at >= timedelta(seconds=0.3)


async def test_a_retry_that_is_raised_repeats_the_whole_batch(client: AsyncClient, redis_url: str) -> None:
    sizes: list[int] = []

    @batch_processor(queue="work", max_batch_size=3, max_wait_ms=5_000)
    async def process(batch: Batch[Any]) -> list[int]:
        sizes.append(len(batch))
        if batch[0].attempt == 1:
            raise Retry(delay_s=0)
        return [job.attempt for job in batch]

    async with Worker([process], settings=quick(redis_url)):
        assert await client.map("work", [1, 2, 3], timeout_s=30) == [2, 2, 2]
    assert sizes == [3, 3]


async def test_a_burst_waits_for_the_retries_that_it_caused_and_not_for_what_is_delayed(
    client: AsyncClient, redis_url: str
) -> None:
    flaky = await client.submit("work", 1)
    delayed = await client.submit("work", 2, delay_s=600)
    worker = Worker([failing(1, Retry(delay_s=0.5))], settings=quick(redis_url))
    await asyncio.to_thread(worker.run, burst=True)
    assert await flaky.result(timeout_s=30) == 2
    assert (await delayed.status()).state is JobState.SCHEDULED


async def test_a_job_past_its_deadline_is_never_processed(client: AsyncClient, redis_url: str) -> None:
    seen: list[Any] = []

    @batch_processor(queue="work", max_wait_ms=0)
    async def process(batch: Batch[Any]) -> list[Any]:
        seen.extend(batch.payloads)
        return batch.payloads

    late = await client.submit("work", "late", expires_in_s=0.001)
    good = await client.submit("work", "good", expires_in_s=600)
    await asyncio.sleep(0.05)  # the deadline passes
    async with Worker([process], settings=quick(redis_url)):
        assert await good.result(timeout_s=30) == "good"
        with pytest.raises(JobExpired):
            await late.result(timeout_s=30)
    assert seen == ["good"]
    assert (await late.status()).state is JobState.EXPIRED


async def test_a_processor_sees_the_deadline(client: AsyncClient, redis_url: str) -> None:
    @batch_processor(queue="work", max_wait_ms=0)
    async def process(batch: Batch[Any]) -> list[Any]:
        return [job.deadline for job in batch]

    async with Worker([process], settings=quick(redis_url)):
        deadline = await client.call("work", 1, expires_in_s=600, timeout_s=30)
        assert timedelta(seconds=590) < deadline - datetime.now(UTC) < timedelta(seconds=610)
        assert await client.call("work", 2, timeout_s=30) is None


async def test_a_job_expires_also_where_no_worker_lives(client: AsyncClient) -> None:
    job = await client.submit("work", 1, expires_in_s=0.001)
    await asyncio.sleep(0.05)  # the deadline passes
    assert (await job.status()).state is JobState.EXPIRED
    with pytest.raises(JobExpired):
        await client.job(job.id).result(timeout_s=30)


async def test_a_delayed_job_is_run_in_its_time_and_not_before(client: AsyncClient, redis_url: str) -> None:
    @batch_processor(queue="work", max_wait_ms=0)
    async def process(batch: Batch[Any]) -> list[Any]:
        return batch.payloads

    async with Worker([process], settings=quick(redis_url)):
        run_at = datetime.now(UTC) + timedelta(seconds=0.4)
        delayed = await client.submit("work", 1, delay_s=0.3)
        dated = await client.submit("work", 2, run_at=run_at)
        assert (await delayed.status()).state is JobState.SCHEDULED
        assert (await delayed.result(timeout_s=30), await dated.result(timeout_s=30)) == (1, 2)
        first, second = await delayed.status(), await dated.status()

    assert first.started_at is not None
    assert first.enqueued_at is not None
    assert second.started_at is not None
    assert first.started_at - first.enqueued_at >= timedelta(seconds=0.3)
    assert second.started_at >= run_at - timedelta(milliseconds=1)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"delay_s": -1}, ValueError),
        ({"delay_s": 1, "run_at": datetime.now(UTC)}, ValueError),
        ({"run_at": datetime(2030, 1, 1)}, ValueError),  # noqa: DTZ001 - that is the mistake
        ({"max_attempts": 0}, ValueError),
        ({"max_attempts": True}, ValueError),
        ({"expires_in_s": float("nan")}, ValueError),
        ({"expire_in_s": 1}, TypeError),
    ],
)
async def test_an_option_that_cannot_be_is_refused_before_anything_is_sent(
    client: AsyncClient, options: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error, match=next(iter(options))):
        await client.submit("work", 1, **options)
    assert await client.queues() == []


async def test_a_job_that_waits_is_cancelled_and_never_run(client: AsyncClient, redis_url: str) -> None:
    seen: list[Any] = []

    @batch_processor(queue="work", max_wait_ms=0)
    async def process(batch: Batch[Any]) -> list[Any]:
        seen.extend(batch.payloads)
        return batch.payloads

    waiting = await client.submit("work", "waiting")
    delayed = await client.submit("work", "delayed", delay_s=600)
    other = await client.submit("work", "other")
    assert await waiting.cancel()
    assert await delayed.cancel()
    assert await waiting.cancel()  # again: it is cancelled
    async with Worker([process], settings=quick(redis_url)):
        assert await other.result(timeout_s=30) == "other"
        assert not await other.cancel()
    assert seen == ["other"]
    for job in (waiting, delayed):
        with pytest.raises(JobCancelled):
            await job.result(timeout_s=30)
        with pytest.raises(JobCancelled):
            await client.job(job.id).result(timeout_s=30)
    with pytest.raises(ResultNotFound):
        await client.job("work/never").cancel()


async def test_a_running_job_is_told_and_its_mates_get_their_results(
    client: AsyncClient, redis_url: str
) -> None:
    running: list[Job[Any]] = []
    began = asyncio.Event()

    @batch_processor(queue="work", max_batch_size=2, max_wait_ms=5_000)
    async def process(batch: Batch[Any]) -> list[Any]:
        running.extend(batch)
        began.set()
        await until(lambda: any(job.cancelled for job in batch))
        return batch.payloads

    async with Worker([process], settings=quick(redis_url)):
        doomed, mate = await client.submit_many("work", ["doomed", "mate"])
        await began.wait()
        assert await client.job(doomed.id).cancel()
        assert await mate.result(timeout_s=30) == "mate"
        with pytest.raises(JobCancelled):
            await doomed.result(timeout_s=30)
    assert [job.cancelled for job in running] == [True, False]
    assert (await doomed.status()).state is JobState.CANCELLED


async def test_a_cancelled_job_is_told_to_whoever_awaits_it_elsewhere(redis_url: str) -> None:
    async with AsyncClient(redis_url) as one, AsyncClient(redis_url) as two:
        mine = await one.submit("work", 1)
        theirs = two.job(mine.id)
        waiting = [asyncio.ensure_future(each.result(timeout_s=30)) for each in (mine, theirs)]
        await until(lambda: theirs._ticket.heard >= 0)
        assert await two.job(mine.id).cancel()
        for each in waiting:
            with pytest.raises(JobCancelled):
                await each


def test_threads_cancel_as_well(redis_url: str) -> None:
    with Client(redis_url) as client:
        job = client.submit("work", 1, delay_s=600)
        assert job.cancel()
        with pytest.raises(JobCancelled):
            job.result(timeout_s=30)


def test_a_submit_that_its_caller_gave_up_on_does_not_appear_later(redis_url: str) -> None:
    """The server is held up for longer than the caller waits, and then executes what it was sent."""
    import redis  # noqa: PLC0415 - the only test here that needs one

    with redis.Redis.from_url(redis_url, protocol=2) as raw, Client(redis_url) as client:
        client.submit("work", "first", job_id="first")
        raw.client_pause(600, all=True)
        gave_up = threading.Event()
        try:
            client.submit("work", "late", job_id="late", timeout_s=0.1)
        except TimeoutError:
            gave_up.set()
        assert gave_up.is_set()
        client.submit("work", "marker", job_id="marker")  # whatever was under way has arrived before it
        assert raw.exists("mb:{work}:job:first") == 1
        assert raw.exists("mb:{work}:job:late") == 0
