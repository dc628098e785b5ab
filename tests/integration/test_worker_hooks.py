"""Hooks: told after the outcomes are written, and whatever they do, no job pays for it."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
from tests.chaos.kit import Desk, desk_at, quick, until

from microbatch.worker import (
    Batch,
    BatchProcessor,
    BatchReport,
    ErrorFacts,
    Job,
    ProcessorError,
    Retry,
    Worker,
    batch_processor,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def desk(redis_url: str) -> Iterator[Desk]:
    with desk_at(redis_url) as made:
        yield made


class Told:
    """Keeps what hooks were told."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def on_success(self, job: Job[Any], result: Any) -> None:
        self.calls.append(("success", job.payload, result, threading.current_thread().name))

    async def on_failure(self, job: Job[Any], error: ErrorFacts) -> None:
        await asyncio.sleep(0)
        self.calls.append(("failure", job.payload, error.type, error.message))

    def on_batch(self, batch: Batch[Any], report: BatchReport) -> None:
        self.calls.append(("batch", len(batch), report))

    def hooks(self) -> dict[str, Any]:
        return {"on_success": self.on_success, "on_failure": self.on_failure, "on_batch": self.on_batch}


async def act(items: list[str]) -> list[object]:
    return [ValueError("bad") if item == "bad" else item.upper() for item in items]


async def test_hooks_of_a_function_are_told_of_each_job_and_then_of_the_batch(desk: Desk) -> None:
    told = Told()
    jobs = desk.submit("a", "bad")
    processor = batch_processor(queue="work", max_wait_ms=0, **told.hooks())(act)
    async with Worker([processor], settings=quick(desk.url)):
        await until(lambda: len(told.calls) == 3)

    assert told.calls[0] == ("success", "a", "A", "microbatch-hooks-0")
    assert told.calls[1] == ("failure", "bad", "ValueError", "bad")
    _, size, report = told.calls[2]
    assert (size, report.size, report.succeeded, report.failed, report.retried) == (2, 2, 1, 1, 0)
    assert report.run_ms >= 0
    assert desk.are_final(jobs)


async def test_hooks_of_a_class_and_of_the_worker_are_both_told_when_the_results_are_written(
    desk: Desk,
) -> None:
    states: list[str] = []
    told = Told()

    class Echo(BatchProcessor[str, str]):
        queue = "work"
        max_wait_ms = 0

        async def process(self, batch: Batch[str]) -> list[str]:
            return batch.payloads

        async def on_success(self, job: Job[str], result: str) -> None:
            states.append(desk.state(job.id.partition("/")[2]))
            assert result == job.payload

    desk.submit("a")
    async with Worker([Echo], settings=quick(desk.url), hooks=told.hooks()):
        await until(lambda: len(told.calls) == 2)
    assert states == ["succeeded"]
    assert [call[0] for call in told.calls] == ["success", "batch"]


async def test_a_retry_is_no_failure_until_the_last_run(desk: Desk) -> None:
    told = Told()

    @batch_processor(queue="work", max_wait_ms=0, max_attempts=2, **told.hooks())
    async def never(items: list[str]) -> list[object]:
        return [Retry("no", delay_s=0) for _ in items]

    desk.submit("a")
    async with Worker([never], settings=quick(desk.url)):
        await until(lambda: len(told.calls) == 3)
    assert [call[0] for call in told.calls] == ["batch", "failure", "batch"]
    assert told.calls[0][2].retried == 1


@pytest.mark.parametrize("error", [ValueError("a bug"), SystemExit(3), asyncio.CancelledError()])
@pytest.mark.parametrize("kind", ["async", "plain"])
async def test_a_hook_that_raises_costs_nothing_and_is_logged(
    desk: Desk, caplog: pytest.LogCaptureFixture, error: BaseException, kind: str
) -> None:
    def plain(*_: object) -> NoReturn:
        raise error

    async def asynchronous(*_: object) -> NoReturn:
        raise error

    hook = asynchronous if kind == "async" else plain
    processor = batch_processor(queue="work", max_wait_ms=0, on_success=hook, on_batch=hook)(act)
    async with Worker([processor], settings=quick(desk.url)):
        jobs = desk.submit("a", "b")
        await until(lambda: desk.are_final(jobs))
        more = desk.submit("c")
        await until(lambda: desk.are_final(more))
    assert [desk.result(job) for job in (*jobs, *more)] == ["A", "B", "C"]
    assert sum("the hook" in record.getMessage() for record in caplog.records) >= 3
    assert desk.is_clean()


async def test_a_result_that_came_too_late_is_told_to_nobody(desk: Desk) -> None:
    told = Told()
    go = asyncio.Event()

    @batch_processor(queue="work", max_wait_ms=0, **told.hooks())
    async def waits(items: list[str]) -> list[str]:
        await go.wait()
        return items

    (job,) = desk.submit("a")
    async with Worker([waits], settings=quick(desk.url)):
        await until(lambda: desk.status().running == 1)
        desk.redis.hset(desk.keys.job(job), "entry", "main:9-9")
        go.set()
    assert told.calls == []


def test_a_hook_that_is_none_is_refused() -> None:
    with pytest.raises(ProcessorError, match="no hook 'on_start'"):
        Worker([batch_processor(queue="work")(act)], hooks={"on_start": print})
    with pytest.raises(ProcessorError, match="on_batch must be a function"):
        batch_processor(queue="work", on_batch=3)(act)
