"""Several functions over one queue: each gets the jobs of its kind, and a wrong payload fails alone."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel
from tests.chaos.kit import quick
from tests.integration import kind_processors

from microbatch.console.main import main
from microbatch.producer import AsyncClient, JobFailed
from microbatch.worker import Batch, BatchProcessor, Retry, Schedule, Worker, batch_processor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Numbers(BaseModel):
    a: int
    b: int = 0


@dataclass
class Answer:
    value: int


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(redis_url) as client:
        yield client


def math(calls: list[tuple[str, int]], **declared: Any) -> list[BatchProcessor[Any, Any]]:
    """Three processors of the queue `math`, one for jobs without a kind, that note how they are called."""

    @batch_processor(queue="math", kind="sum", max_wait_ms=100, **declared)
    async def add(pairs: list[Numbers]) -> list[Answer]:
        calls.append(("sum", len(pairs)))
        return [Answer(pair.a + pair.b) for pair in pairs]

    @batch_processor(queue="math", kind="mul")
    def mul(batch: Batch[Numbers]) -> dict[str, Any]:
        calls.append(("mul", len(batch)))
        return {job.id: Numbers(a=job.payload.a * job.payload.b) for job in batch}

    @batch_processor(queue="math")
    def any_other(payloads: list[Any]) -> list[Any]:
        calls.append(("", len(payloads)))
        return payloads

    return [add, mul, any_other]


async def test_a_mixed_batch_calls_each_kinds_function_once_with_its_jobs(
    client: AsyncClient, redis_url: str
) -> None:
    calls: list[tuple[str, int]] = []
    jobs = [await client.submit("math", {"a": n, "b": 3}, kind=("sum", "mul", None)[n % 3]) for n in range(9)]
    async with Worker(math(calls), settings=quick(redis_url)):
        results = [await job.result(timeout_s=30) for job in jobs]
    assert sorted(calls) == [("", 3), ("mul", 3), ("sum", 3)]
    assert results == [({"value": n + 3}, {"a": n * 3, "b": 0}, {"a": n, "b": 3})[n % 3] for n in range(9)]


async def test_a_payload_that_does_not_fit_and_an_unknown_kind_fail_alone_and_for_good(
    client: AsyncClient, redis_url: str
) -> None:
    async with Worker(math([], max_attempts=3), settings=quick(redis_url)):
        good, bad, unknown = await asyncio.gather(
            client.submit("math", kind="sum", payload={"a": 1}),
            client.submit("math", kind="sum", payload={"a": "x"}),
            client.submit("math", kind="div", payload={"a": 1}),
        )
        assert await good.result(timeout_s=30) == {"value": 1}
        for job, error_type, sentence in (
            (bad, "PayloadInvalid", "a: Input should be a valid integer"),
            (unknown, "UnknownKind", "no processor for kind 'div'; queue math has mul, sum"),
        ):
            with pytest.raises(JobFailed, match=sentence) as failed:
                await job.result(timeout_s=30)
            assert failed.value.error_type == error_type
            assert (await job.status()).attempt == 1
    assert (await client.queue_status("math")).dead == 2


async def test_without_a_processor_for_it_a_job_without_a_kind_is_told_the_kinds(
    client: AsyncClient, redis_url: str
) -> None:
    async with Worker(math([])[:2], settings=quick(redis_url)):
        with pytest.raises(JobFailed, match="names no kind; queue math has mul, sum"):
            await client.call("math", 1, timeout_s=30)


async def test_what_one_kind_raises_costs_the_others_nothing(client: AsyncClient, redis_url: str) -> None:
    runs: list[int] = []

    @batch_processor(queue="math", kind="bad", max_wait_ms=100, retry_backoff_s=0.01)
    async def bad(batch: Batch[Any]) -> Any:
        runs.append(len(batch))
        if any(job.payload == "raise" for job in batch):
            raise OSError("all of us")
        return {job.id: Retry(delay_s=0.01) if job.attempt == 1 else "again" for job in batch}

    jobs = {
        name: await client.submit("math", payload, kind=kind)
        for name, payload, kind in (
            ("culprit", "raise", "bad"),
            ("mate", "ok", "bad"),
            ("other", {"a": 4}, "sum"),
        )
    }
    async with Worker([bad, math([])[0]], settings=quick(redis_url)):
        assert await jobs["other"].result(timeout_s=30) == {"value": 4}
        assert await jobs["mate"].result(timeout_s=30) == "again"
        with pytest.raises(JobFailed, match="all of us"):
            await jobs["culprit"].result(timeout_s=30)
        assert (await jobs["other"].status()).attempt == 1
    assert runs[0] == 2


async def test_each_kind_retries_by_its_own_rules(client: AsyncClient, redis_url: str) -> None:
    @batch_processor(queue="math", kind="stubborn", max_attempts=3, retry_backoff_s=0.01)
    async def stubborn(batch: Batch[Any]) -> Any:
        return [OSError("no") if job.attempt < 3 else job.attempt for job in batch]

    @batch_processor(queue="math", kind="careful", give_up_on=OSError)
    async def careful(batch: Batch[Any]) -> Any:
        return [OSError("no") if job.attempt < 3 else job.attempt for job in batch]

    async with Worker([stubborn, careful], settings=quick(redis_url)):
        assert await client.call("math", 1, kind="stubborn", timeout_s=30) == 3
        with pytest.raises(JobFailed, match="OSError: no"):
            await client.call("math", 1, kind="careful", timeout_s=30)


async def test_a_kind_that_hangs_holds_back_only_its_own(client: AsyncClient, redis_url: str) -> None:
    @batch_processor(queue="math", kind="hang", max_wait_ms=100, batch_timeout_s=0.2)
    async def hang(payloads: list[Any]) -> list[Any]:
        if len(payloads) > 1 or "hang" in payloads:
            await asyncio.sleep(60)
        return payloads

    jobs = [await client.submit("math", payload, kind="hang") for payload in ("hang", "mate")]
    other = await client.submit("math", {"a": 4}, kind="sum")
    async with Worker([hang, math([])[0]], settings=quick(redis_url)):
        assert await other.result(timeout_s=30) == {"value": 4}
        assert await jobs[1].result(timeout_s=30) == "mate"
        with pytest.raises(JobFailed, match="BatchTimeout"):
            await jobs[0].result(timeout_s=30)
        assert (await other.status()).attempt == 1


async def test_child_processes_validate_and_answer_models_too(client: AsyncClient, redis_url: str) -> None:
    processors = [kind_processors.add, kind_processors.Scale]
    async with Worker(processors, settings=quick(redis_url, executor="process")):
        assert await client.call("math", {"a": 1, "b": 2}, kind="sum", timeout_s=30) == {"value": 3}
        assert await client.call("math", kind_processors.Point(x=2), kind="scale", timeout_s=30) == {"x": 20}
        with pytest.raises(JobFailed, match="a: Field required"):
            await client.call("math", {}, kind="sum", timeout_s=30)


async def test_a_model_travels_and_kinds_go_with_many_and_with_schedules(
    client: AsyncClient, redis_url: str
) -> None:
    every = Schedule("every", queue="math", every_s=1, kind="sum", payload={"a": 5})
    async with Worker([*math([]), every], settings=quick(redis_url)):
        assert await client.call("math", Numbers(a=1, b=2), kind="sum", timeout_s=30) == {"value": 3}
        jobs = await client.submit_many("math", [Numbers(a=n) for n in range(3)], kind="mul")
        assert [await job.result(timeout_s=30) for job in jobs] == [{"a": 0, "b": 0}] * 3
        tick = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time.time() + 2))
        assert await client.job(f"math/every:{tick}").result(timeout_s=30) == {"value": 5}


def test_the_command_line_names_a_kind(redis_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["submit", "math", '{"a": 1}', "--kind", "sum", "--redis-url", redis_url]) == 0
    job_id = capsys.readouterr().out.strip()

    async def worked() -> Any:
        async with Worker(math([]), settings=quick(redis_url)), AsyncClient(redis_url) as client:
            return await client.job(job_id).result(timeout_s=30)

    assert asyncio.run(worked()) == {"value": 1}
    assert main(["submit", "math", "1", "--kind", "a b", "--redis-url", redis_url]) == 2
    assert "a kind has" in capsys.readouterr().err


async def test_a_kind_that_cannot_be_is_refused(client: AsyncClient) -> None:
    with pytest.raises(ValueError, match="a kind has"):
        await client.submit("math", 1, kind="")
