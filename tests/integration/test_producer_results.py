"""Results: pushed, read, awaited one by one and many at once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import redis.asyncio as aioredis
from tests.integration.test_producer_stand_in import bad, echo, stand_in, working

from microbatch.common.keys import QueueKeys
from microbatch.common.scripts import load
from microbatch.producer import (
    AsyncClient,
    ClientSettings,
    JobFailed,
    JobState,
    ProtocolError,
    QueueFull,
    ResultNotFound,
    ResultTimeout,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from microbatch.common.jobs.entry import Entry
    from microbatch.common.scripts import Claimed

NEVER_S = 3600


@pytest.fixture
async def raw(redis_url: str) -> AsyncIterator[aioredis.Redis]:
    async with aioredis.Redis.from_url(redis_url, decode_responses=True) as raw:
        await raw.config_resetstat()
        yield raw


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[AsyncClient]:
    """A client that practically never polls: what it gets was pushed, or read for a reason."""
    async with AsyncClient(settings=ClientSettings(redis_url=redis_url, poll_interval_s=NEVER_S)) as client:
        yield client


@pytest.fixture
async def polling(redis_url: str) -> AsyncIterator[AsyncClient]:
    """A client that polls all the time."""
    async with AsyncClient(settings=ClientSettings(redis_url=redis_url, poll_interval_s=0.05)) as client:
        yield client


async def script_calls(raw: aioredis.Redis) -> int:
    stats = await raw.info("commandstats")
    return int(stats["cmdstat_evalsha"]["calls"])


async def watched(raw: aioredis.Redis, count: int, queue: str = "q") -> None:
    """Return once so many jobs are watched by clients that did not submit them."""
    async with asyncio.timeout(10):
        while await raw.hlen(QueueKeys(queue).watchers) < count:
            pass  # the question itself takes a round trip


async def test_a_job_goes_from_queued_over_running_to_succeeded(redis_url: str, client: AsyncClient) -> None:
    async with stand_in(redis_url) as worker:
        job = await client.submit("q", "hello")
        queued = await job.status()
        held = await worker.claim()
        running = await job.status()
        await worker.settle(held)
        done = await job.status()

        assert (queued.state, queued.attempt, queued.started_at) == (JobState.QUEUED, 0, None)
        assert (running.state, running.attempt, running.worker) == (JobState.RUNNING, 1, "host:1:standin")
        assert (running.batch_id, running.batch_size) == (done.batch_id, 1)
        assert (done.state, done.attempt, done.error) == (JobState.SUCCEEDED, 1, None)
        assert queued.enqueued_at is not None
        assert done.started_at is not None
        assert done.finished_at is not None
        assert queued.enqueued_at <= done.started_at <= done.finished_at
        assert await job == "hello"


async def test_a_failed_job_raises_what_failed_it_every_time(redis_url: str, client: AsyncClient) -> None:
    async with working(redis_url, answer=bad):
        job = await client.submit("q", 1)
        for _ in range(2):
            with pytest.raises(JobFailed, match="ValueError: bad") as caught:
                await job.result(timeout_s=30)
        status = await job.status()

        assert caught.value.job_id == job.id
        assert status.error is not None
        assert (status.error.type, status.error.message) == ("ValueError", "bad")


async def test_a_job_of_another_client_is_pushed_to_whoever_awaits_it_by_id(
    redis_url: str, client: AsyncClient, raw: aioredis.Redis
) -> None:
    async with AsyncClient(redis_url) as submitter, stand_in(redis_url) as worker:
        job = await submitter.submit("q", "x")
        waiting = [asyncio.create_task(client.job(job.id).result(timeout_s=30)) for _ in range(2)]
        await watched(raw, 1)
        await worker.settle(await worker.claim())

        assert await asyncio.gather(*waiting, job.result()) == ["x"] * 3


async def test_a_finished_job_is_found_by_its_id_alone(redis_url: str, client: AsyncClient) -> None:
    async with AsyncClient(redis_url) as submitter, working(redis_url):
        job = await submitter.submit("q", {"a": 1})
        await job

        assert await client.job(job.id).result(timeout_s=30) == {"a": 1}
        assert (await client.job(job.id).status()).state is JobState.SUCCEEDED


async def test_a_thousand_jobs_by_id_share_their_looks(
    redis_url: str, client: AsyncClient, raw: aioredis.Redis
) -> None:
    async with AsyncClient(redis_url) as submitter, working(redis_url):
        jobs = await submitter.submit_many("q", range(1000))
        await asyncio.gather(*(job.result() for job in jobs))
        before = await script_calls(raw)
        results = await asyncio.gather(*(client.job(job.id).result() for job in jobs))

        assert results == list(range(1000))
        # The stand-in looks for work meanwhile; the looks themselves are four.
        assert await script_calls(raw) - before < 50


@pytest.mark.parametrize("full_id", ["nonsense", "a/b/c", "/a", "q/", "q/a b", 7])
def test_a_job_needs_its_full_id(full_id: Any) -> None:
    async def ask() -> None:
        async with AsyncClient("embedded://") as client:
            client.job(full_id)

    with pytest.raises(ValueError, match=r"id|name"):
        asyncio.run(ask())


async def test_an_unknown_job_is_not_found_at_once(client: AsyncClient) -> None:
    job = client.job("q/nothing")
    for ask in (job.result, job.status):
        with pytest.raises(ResultNotFound):
            await ask()


async def test_a_record_of_another_type_is_a_protocol_error(client: AsyncClient, raw: aioredis.Redis) -> None:
    await raw.set("mb:{q}:job:a", "not ours")
    job = client.job("q/a")
    for ask in (job.result, job.status):
        with pytest.raises(ProtocolError):
            await ask()


async def test_a_job_whose_entry_is_gone_fails_as_lost(polling: AsyncClient, raw: aioredis.Redis) -> None:
    job = await polling.submit("q", 1)
    await raw.delete("mb:{q}:lane:main")

    with pytest.raises(JobFailed, match="JobLost"):
        await job.result(timeout_s=30)


async def test_a_result_that_cannot_be_decoded_is_a_protocol_error(
    redis_url: str, polling: AsyncClient
) -> None:
    def garbage(_: Entry) -> tuple[bool, bytes]:
        return True, b"\xc1"

    async with working(redis_url, answer=garbage):
        job = await polling.submit("q", 1)
        with pytest.raises(ProtocolError):
            await job.result(timeout_s=30)


async def test_a_large_result_is_read_from_its_record(redis_url: str, client: AsyncClient) -> None:
    async with working(redis_url):
        assert await client.call("q", b"x" * 100_000, timeout_s=30) == b"x" * 100_000


async def test_a_result_that_is_not_kept_reaches_whoever_holds_the_handle(
    redis_url: str, client: AsyncClient, polling: AsyncClient, raw: aioredis.Redis
) -> None:
    async with working(redis_url):
        job = await client.submit("q", "x", result_ttl_s=0)

        assert await job.result(timeout_s=30) == "x"
        assert await job.result() == "x"
        assert not await raw.exists(job.result_key)
        with pytest.raises(ResultNotFound):
            await polling.job(job.id)
        with pytest.raises(ResultNotFound):
            await job.status()
        assert await polling.map("q", range(500), timeout_s=20) == list(range(500))


async def test_a_job_whose_push_was_lost_and_record_not_kept_is_not_found(
    redis_url: str, polling: AsyncClient, raw: aioredis.Redis
) -> None:
    job = await polling.submit("q", "x")
    await raw.flushall()

    with pytest.raises(ResultNotFound):
        await job.result(timeout_s=30)


async def test_a_call_is_bounded_as_a_whole(client: AsyncClient) -> None:
    await client.submit("q", "warm")
    with pytest.raises(ResultTimeout) as caught:
        await client.call("q", 1, timeout_s=1.0)

    assert caught.value.timeout_s <= 1.0


async def test_jobs_are_given_as_they_finish_failed_ones_too(redis_url: str, client: AsyncClient) -> None:
    def odd_fail(entry: Entry) -> tuple[bool, bytes]:
        return bad(entry) if entry.payload[0] % 2 else echo(entry)

    jobs = await client.submit_many("q", range(100))
    unknown = client.job("q/unknown")
    async with working(redis_url, answer=odd_fail):
        finished = [job async for job in client.as_completed([*jobs, unknown, jobs[0]], timeout_s=20)]
    outcomes = await asyncio.gather(*(job.result(timeout_s=30) for job in jobs), return_exceptions=True)

    assert {job.id for job in finished} == {job.id for job in [*jobs, unknown]}
    assert len(finished) == 101
    assert [isinstance(outcome, JobFailed) for outcome in outcomes] == [False, True] * 50


async def test_jobs_that_do_not_finish_in_time_are_a_result_timeout(client: AsyncClient) -> None:
    jobs = await client.submit_many("q", range(3))
    with pytest.raises(ResultTimeout, match="3 jobs"):
        await anext(aiter(client.as_completed(jobs, timeout_s=0.05)))


async def test_mapping_20_000_payloads_needs_few_round_trips_and_no_task_per_job(
    redis_url: str, client: AsyncClient, raw: aioredis.Redis
) -> None:
    await raw.script_load(load("settle").text)  # a call that has to load it first counts twice
    async with stand_in(redis_url) as worker:
        mapping = asyncio.create_task(client.map("q", range(20_000), timeout_s=60))
        async with asyncio.timeout(30):
            while await raw.xlen("mb:{q}:lane:main") < 20_000:
                pass  # the question itself takes a round trip
        calls = await script_calls(raw)
        tasks = len(asyncio.all_tasks())
        held: list[Claimed] = []
        while sum(len(batch.entries) for batch in held) < 20_000:
            held += await worker.claim(1000)
        claims = await script_calls(raw) - calls
        await worker.settle(held)

        assert await mapping == list(range(20_000))
        assert calls <= 20_000 / 256 + 4
        assert tasks < 12
        # Pushed, not read: after the submits there were the stand-in's own calls only.
        assert await script_calls(raw) == calls + claims + len(held)


async def test_mapping_waits_for_room_and_raises_the_first_failure(redis_url: str) -> None:
    def later_fail(entry: Entry) -> tuple[bool, bytes]:
        return bad(entry) if entry.payload in (b"\x07", b"\x09") else echo(entry)

    settings = ClientSettings(redis_url=redis_url, max_queue_length=20)
    async with AsyncClient(settings=settings) as client, working(redis_url, answer=later_fail):
        with pytest.raises(JobFailed):
            await client.map("q", range(60), timeout_s=30)
        outcomes = await client.map("q", range(60), timeout_s=30, return_exceptions=True)

        assert [index for index, each in enumerate(outcomes) if isinstance(each, JobFailed)] == [7, 9]


async def test_mapping_in_vain_says_how_many_results_are_missing(
    redis_url: str, client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ResultTimeout, match="300 jobs"):
        await client.map("q", range(300), timeout_s=1.5)
    # The time ends in the first pause: with a repetition in the air nobody would know that the queue is full.
    monkeypatch.setattr("microbatch.producer.bulk.pause_s", lambda _full: 60.0)
    async with AsyncClient(settings=ClientSettings(redis_url=redis_url, max_queue_length=1)) as narrow:
        with pytest.raises(QueueFull):
            await narrow.map("q", range(3), timeout_s=1.5)
