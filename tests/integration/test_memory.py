"""Nothing is kept for a job that is over, on whatever path it ended: counted in blocks and objects.

A client and a worker run in this process. Jobs come in rounds; what is kept for each of them makes every
round dearer by at least one block of memory a job, while caches and cancelled timers only move. Nor is
anything left to the collector of cycles: what waits for it makes a process larger than it needs to be.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import sys
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import redis.asyncio as aioredis
from tests.chaos.kit import quick, until

from microbatch.producer import (
    AsyncClient,
    ClientSettings,
    DuplicateJobId,
    JobCancelled,
    JobExpired,
    JobFailed,
    QueueFull,
    ResultTimeout,
)
from microbatch.worker import Batch, Retry, Worker, batch_processor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    Path = Callable[[AsyncClient, int], Awaitable[object]]

LEAST_ROUNDS, MOST_ROUNDS = 5, 12
JOBS, AT_ONCE = 120, 40
A_LEAK = 0.5 * JOBS  # blocks or objects in a round: one a job, and some luck
LOOK_S = 0.01
TIMERS = 200
"""So many cancelled timers make a loop forget all that were cancelled; it keeps up to a hundred."""


@pytest.fixture(autouse=True)
def _in_peace() -> Iterator[None]:
    """pytest keeps every line that is logged; and only the tests collect."""
    logging.disable(logging.CRITICAL)
    gc.disable()
    yield
    gc.enable()
    logging.disable(logging.NOTSET)


@batch_processor(queue="q", max_wait_ms=1, max_attempts=2, retry_backoff_s=0.001)
async def answers(batch: Batch[Any]) -> list[Any]:
    """Does what each payload says."""
    return [answer(job) for job in batch]


def answer(job: Any) -> Any:
    match job.payload:
        case "fail":
            return ValueError("as it was asked to")
        case "retry" if job.attempt == 1:
            return Retry(delay_s=0.001)
        case "talk":
            job.log.info("run %d", job.attempt)
            job.progress(0.5, "half of it")
    return job.payload


@batch_processor(queue="raising", max_wait_ms=1, on_batch_error="bisect")
async def raises(batch: Batch[Any]) -> list[Any]:
    """Raises for the whole of a batch."""
    raise ValueError("one of these")


@batch_processor(queue="raising", max_wait_ms=1)
def raises_in_a_thread(batch: Batch[Any]) -> list[Any]:
    raise ValueError("one of these")


@batch_processor(queue="raising", max_wait_ms=1)
async def raises_while_it_yields(batch: Batch[Any]) -> AsyncIterator[tuple[Any, Any]]:
    yield batch[0], 1
    raise ValueError("one of these")


@batch_processor(queue="raising", max_wait_ms=1)
async def exits(batch: Batch[Any]) -> list[Any]:
    """As if it ended the process: what is no `Exception` takes another way."""
    raise SystemExit(1)


@batch_processor(queue="raising", max_wait_ms=1, executor="process")
def raises_in_a_process(batch: Batch[Any]) -> list[Any]:
    raise ValueError("one of these")


async def awaited(client: AsyncClient, number: int) -> None:
    await client.call("q", number)


async def dropped(client: AsyncClient, number: int) -> None:
    await client.submit("q", number)


async def named_twice(client: AsyncClient, number: int) -> None:
    job = await client.submit("q", "a", job_id=f"twice-{number}")
    await client.submit("q", "a", job_id=f"twice-{number}")
    with pytest.raises(DuplicateJobId):
        await client.submit("q", "b", job_id=f"twice-{number}")
    await job


async def timed_out(client: AsyncClient, number: int) -> None:
    job = await client.submit("q", number, delay_s=0.05, timeout_s=60)
    with pytest.raises(ResultTimeout):
        await job.result(timeout_s=0.0001)


async def given_up(client: AsyncClient, number: int) -> None:
    job = await client.submit("q", number, delay_s=0.02)
    waiting = asyncio.ensure_future(job.result(timeout_s=60))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def failed(client: AsyncClient, _: int) -> None:
    with pytest.raises(JobFailed):
        await client.call("q", "fail")


async def raised(client: AsyncClient, number: int) -> None:
    with contextlib.suppress(JobFailed):
        await client.call("raising", number)


async def retried(client: AsyncClient, _: int) -> None:
    assert await client.call("q", "retry") == "retry"


async def cancelled(client: AsyncClient, number: int) -> None:
    job = await client.submit("q", number, delay_s=60)
    await job.cancel()
    with pytest.raises(JobCancelled):
        await job


async def expired(client: AsyncClient, number: int) -> None:
    with contextlib.suppress(JobExpired):  # it may have been quicker
        await client.call("q", number, expires_in_s=0.001)


async def of_another(client: AsyncClient, number: int) -> None:
    full_id = (await client.submit("q", number, delay_s=0.002)).id
    assert await client.job(full_id).result(timeout_s=60) == number


async def unique(client: AsyncClient, number: int) -> None:
    await client.call("q", "same", unique_key=f"key {number % 3}")


async def in_lanes(client: AsyncClient, number: int) -> None:
    await client.call("q", number, batch_key=f"key-{number // 10}", priority=number % 3)


async def talking(client: AsyncClient, _: int) -> None:
    await client.call("q", "talk")


async def followed(client: AsyncClient, number: int) -> None:
    job = await client.submit("q", number, delay_s=0.01)
    states = [update async for update in job.subscribe()]
    assert states


async def harvested(client: AsyncClient, number: int) -> None:
    jobs = await client.submit_many("q", [number, number])
    assert len([job async for job in client.as_completed(jobs)]) == 2


async def through_reconnections(client: AsyncClient, number: int) -> None:
    if number % JOBS == 0:
        async with aioredis.Redis.from_url(client._settings.redis_url, protocol=2) as raw:
            await raw.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
            await raw.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    await client.call("q", number)


async def refused(client: AsyncClient, number: int) -> None:
    with pytest.raises(QueueFull):
        await client.submit("full", number)


PATHS: list[Path] = [
    awaited,
    dropped,
    named_twice,
    timed_out,
    given_up,
    failed,
    retried,
    cancelled,
    expired,
    of_another,
    unique,
    in_lanes,
    talking,
    followed,
    harvested,
    through_reconnections,
    refused,
]


@pytest.fixture
async def client(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AsyncClient]:
    """A client of two queues, of which one is full; it keeps results for a moment only."""
    monkeypatch.setenv("MICROBATCH_QUEUE__full__MAX_QUEUE_LENGTH", "1")
    settings = ClientSettings(redis_url=redis_url, result_ttl_s=1, poll_interval_s=0.1)
    async with AsyncClient(settings=settings) as client:
        await client.submit("full", 0)
        yield client


async def all_is_done(client: AsyncClient) -> None:
    """Return once no job is anywhere, also those that nobody waited for."""
    async with asyncio.timeout(30):
        while True:
            found = [await client.queue_status(queue) for queue in ("q", "raising")]
            if not any(status.waiting or status.running or status.scheduled for status in found):
                break
            await asyncio.sleep(LOOK_S)
    await until(lambda: not any(mailbox.tickets for mailbox in mailboxes(client)), 30, "the last push")


class Round(NamedTuple):
    """How things are after some jobs: blocks of memory, and objects that only the collector could free."""

    blocks: int
    cycles: int


async def a_round(client: AsyncClient, path: Path, number: int) -> Round:
    numbers = iter(range(number * JOBS, (number + 1) * JOBS))

    async def some() -> None:
        for each in numbers:
            await path(client, each)

    await asyncio.gather(*(some() for _ in range(AT_ONCE)))
    await all_is_done(client)
    loop = asyncio.get_running_loop()
    for _ in range(TIMERS):
        loop.call_later(60, loop.stop).cancel()
    await asyncio.sleep(0)
    cycles = gc.collect()
    return Round(sys.getallocatedblocks(), cycles)


def is_flat(rounds: list[Round], path: Path) -> bool:
    """Whether most of these rounds left nothing behind: the first one fills caches, a leak is in each."""
    if len(rounds) < LEAST_ROUNDS:
        return False
    gains = [after.blocks - before.blocks for before, after in pairwise(rounds)]
    cycles = [each.cycles for each in rounds[1:]]
    is_tidy = path is through_reconnections or median(cycles) < A_LEAK  # redis-py's lines are cycles
    return is_tidy and median(gains) < A_LEAK


def mailboxes(client: AsyncClient) -> list[Any]:
    assert client._session is not None
    return list(client._session.inbox._mailboxes.values())


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.__name__)
async def test_nothing_is_kept_of_jobs_that_are_over(redis_url: str, client: AsyncClient, path: Path) -> None:
    await nothing_is_kept(redis_url, client, path, answers)


RAISING = [raises, raises_in_a_thread, raises_while_it_yields, exits, raises_in_a_process]


@pytest.mark.parametrize("processor", RAISING, ids=lambda processor: str(processor.name))
async def test_nothing_is_kept_of_what_a_processor_raised(
    redis_url: str, client: AsyncClient, processor: Any
) -> None:
    await nothing_is_kept(redis_url, client, raised, processor)


async def nothing_is_kept(redis_url: str, client: AsyncClient, path: Path, processor: Any) -> None:
    worker = Worker([processor], settings=quick(redis_url, heartbeat_limit_s=2, dead_max_length=10))
    async with worker:
        rounds: list[Round] = []
        while not is_flat(rounds, path) and len(rounds) < MOST_ROUNDS:
            rounds.append(await a_round(client, path, len(rounds)))

        session = client._session
        assert session is not None
        agent = worker._agents[0]
        await until(lambda: not agent.ledger.batch_ids(), 30, "the worker's last batch")
        for mailbox in mailboxes(client):
            assert (mailbox.tickets, mailbox.awaited) == ({}, set())
        assert session.inbox.records._wanted == {}
        assert session.inbox.newsroom._ears == {}
        assert not any(session.inbox.newsroom._leases.values())
        assert agent._pilot._begun == {}
        assert agent.runner.due_s() == []

    assert is_flat(rounds, path), rounds
