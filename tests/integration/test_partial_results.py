"""Processors that yield: each result is settled while the others are still being worked on."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest
from tests.chaos.kit import Desk, desk_at, quick, until
from tests.integration.executor_processors import Streams

from microbatch.producer import AsyncClient
from microbatch.worker import Batch, BatchProcessor, Job, ProcessorError, Retry, Worker, batch_processor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


@pytest.fixture
def desk(redis_url: str) -> Iterator[Desk]:
    with desk_at(redis_url) as made:
        yield made


def types(desk: Desk, jobs: list[str]) -> list[str]:
    """`ok` or the error type of each job."""
    return ["ok" if desk.state(job) == "succeeded" else desk.error(job)["type"] for job in jobs]


async def finished(desk: Desk, processor: object, *payloads: Any) -> list[str]:
    """The ids of these jobs, after one batch of all of them."""
    jobs = desk.submit(*payloads)
    async with Worker([processor], settings=quick(desk.url, max_wait_ms=0)):
        await until(lambda: desk.are_final(jobs))
    assert desk.is_clean()
    return jobs


async def test_a_coroutine_that_yields_has_its_first_result_read_before_it_has_the_second(desk: Desk) -> None:
    go = asyncio.Event()

    @batch_processor(queue="work")
    async def steps(batch: Batch[str]) -> AsyncIterator[tuple[Job[str], str]]:
        for job in reversed(batch):
            yield job, job.payload.upper()
            await go.wait()

    first, last = desk.submit("a", "b")
    async with Worker([steps], settings=quick(desk.url, max_wait_ms=0)):
        await until(lambda: desk.state(last) == "succeeded")
        assert desk.state(first) == "queued"
        assert desk.status().running == 1
        go.set()
        await until(lambda: desk.state(first) == "succeeded")
    assert [desk.result(first), desk.result(last)] == ["A", "B"]
    assert desk.is_clean()


async def test_a_plain_function_that_yields_does_so_from_its_thread(desk: Desk) -> None:
    go = threading.Event()

    class Steps(BatchProcessor[str, str]):
        queue = "work"

        def process(self, batch: Batch[str]) -> Iterator[tuple[Job[str], str]]:
            for job in batch:
                yield job, threading.current_thread().name
                go.wait(10)

    first, last = desk.submit("a", "b")
    async with Worker([Steps], settings=quick(desk.url, max_wait_ms=0)):
        await until(lambda: desk.state(first) == "succeeded")
        assert desk.state(last) == "queued"
        go.set()
        await until(lambda: desk.state(last) == "succeeded")
    assert desk.result(first) == "microbatch-work-0"


async def test_a_child_process_that_yields_has_its_results_settled_one_by_one(redis_url: str) -> None:
    async with (
        AsyncClient(redis_url) as client,
        Worker([Streams()], settings=quick(redis_url, executor="process", max_wait_ms=0)),
    ):
        jobs = await client.submit_many("streams", ["a", "slow", "raise", "b"])
        first = await jobs[0].result(timeout_s=20)
        states = [(await job.status()).state for job in jobs]
        ends = await asyncio.gather(*(job.result(timeout_s=20) for job in jobs), return_exceptions=True)

    assert first == "A"
    assert states[-1] == "running"
    assert [str(end) if isinstance(end, Exception) else end for end in ends][:2] == ["A", "SLOW"]
    assert "poison" in str(ends[2])
    assert ends[3] == "B"


async def test_what_was_not_yielded_at_the_end_is_an_error_of_the_code(desk: Desk) -> None:
    @batch_processor(queue="work", max_attempts=3)
    async def forgets(batch: Batch[str]) -> AsyncIterator[tuple[Job[str], str]]:
        for job in batch:
            if job.payload != "forgotten":
                yield job, "done"

    jobs = await finished(desk, forgets, "a", "forgotten", "b")

    assert types(desk, jobs) == ["ok", "ResultMismatch", "ok"]
    assert "of 1 without one" in desk.error(jobs[1])["message"]


async def test_raising_in_the_middle_isolates_only_those_without_a_result(desk: Desk) -> None:
    runs: list[list[str]] = []

    @batch_processor(queue="work")
    async def stumbles(batch: Batch[str]) -> AsyncIterator[tuple[Job[str], str]]:
        runs.append(list(batch.payloads))
        for job in batch:
            if job.payload == "poison":
                raise ValueError("no")
            yield job, "done"

    jobs = await finished(desk, stumbles, "a", "b", "poison", "c", "d")

    assert types(desk, jobs) == ["ok", "ok", "ValueError", "ok", "ok"]
    assert runs[0] == ["a", "b", "poison", "c", "d"]
    again = [payload for run in runs[1:] for payload in run]
    assert "a" not in again
    assert "b" not in again


async def test_an_exception_fails_one_job_and_a_retry_runs_it_again(desk: Desk) -> None:
    @batch_processor(queue="work")
    async def judges(batch: Batch[str]) -> AsyncIterator[tuple[Job[str], object]]:
        for job in batch:
            if job.payload == "bad":
                yield job, ValueError("bad")
            elif job.payload == "later" and job.attempt == 1:
                yield job, Retry(delay_s=0)
            else:
                yield job, job.attempt

    jobs = await finished(desk, judges, "fine", "bad", "later")

    assert types(desk, jobs) == ["ok", "ValueError", "ok"]
    assert desk.result(jobs[2]) == 2


@pytest.mark.parametrize("junk", ["not a pair", "a stranger", "twice"])
async def test_junk_fails_those_that_have_no_result_and_no_other(desk: Desk, junk: str) -> None:
    @batch_processor(queue="work")
    async def yields(batch: Batch[str]) -> AsyncIterator[Any]:
        yield batch[0], "done"
        if junk == "not a pair":
            yield "done"
        elif junk == "twice":
            yield batch[0], "other"
        else:
            yield "work/stranger", "done"
        yield batch[1], "done"

    jobs = await finished(desk, yields, "a", "b")

    assert types(desk, jobs) == ["ok", "ResultMismatch"]
    assert desk.result(jobs[0]) == "done"


async def test_what_is_yielded_in_one_turn_of_the_loop_is_settled_in_one_call(desk: Desk) -> None:
    @batch_processor(queue="work", max_batch_size=500)
    async def at_once(batch: Batch[int]) -> AsyncIterator[tuple[Job[int], int]]:
        for job in batch:
            yield job, job.payload

    jobs = desk.submit(*range(200))
    desk.reset_statistics()
    async with Worker([at_once], settings=quick(desk.url, max_wait_ms=0)):
        await until(lambda: desk.are_final(jobs))
        calls = desk.script_calls()

    assert [desk.result(job) for job in jobs] == list(range(200))
    assert calls < 30


async def test_jobs_that_yielded_stay_settled_where_the_rest_is_handed_back(desk: Desk) -> None:
    @batch_processor(queue="work")
    async def hangs(batch: Batch[str]) -> AsyncIterator[tuple[Job[str], str]]:
        yield batch[0], "done"
        await asyncio.Event().wait()

    first, last = desk.submit("a", "b")
    worker = Worker([hangs], settings=quick(desk.url, max_wait_ms=0))
    async with worker:
        await until(lambda: desk.state(first) == "succeeded")
        assert await worker.stop(drain_timeout_s=0) == 1
    assert desk.state(last) == "queued"
    assert desk.status().waiting == 1


def test_a_generator_over_payloads_is_refused_where_it_is_declared() -> None:
    with pytest.raises(ProcessorError, match=r"yields \(job, result\): annotate its argument as a Batch"):

        @batch_processor(queue="work")
        async def nothing_to_name(texts: list[str]) -> AsyncIterator[str]:
            for text in texts:
                yield text
