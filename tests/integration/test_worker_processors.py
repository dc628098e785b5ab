"""Processors on a real server: their kinds, their set-up and teardown, and the result contract in Redis."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
from tests.chaos.kit import Desk, Recorder, desk_at, quick, until

from microbatch.worker import Batch, BatchProcessor, ProcessorError, Worker, batch_processor

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def desk(redis_url: str) -> Iterator[Desk]:
    with desk_at(redis_url) as made:
        yield made


async def finished(desk: Desk, processor: object, *payloads: Any) -> list[str]:
    """The ids of these jobs, after one batch of all of them."""
    jobs = desk.submit(*payloads)
    async with Worker([processor], settings=quick(desk.url, max_wait_ms=0)):
        await until(lambda: desk.are_final(jobs))
    assert desk.is_clean()
    return jobs


def types(desk: Desk, jobs: list[str]) -> list[str]:
    """`ok` or the error type of each job."""
    return ["ok" if desk.state(job) == "succeeded" else desk.error(job)["type"] for job in jobs]


async def test_a_plain_function_runs_in_a_thread_of_its_own(desk: Desk) -> None:
    @batch_processor(queue="work")
    def names(items: list[int]) -> list[str]:
        return [threading.current_thread().name for _ in items]

    jobs = await finished(desk, names, 1, 2)

    assert {desk.result(job) for job in jobs} == {"microbatch-work-0"}


async def test_an_async_function_runs_on_the_loop(desk: Desk) -> None:
    here = threading.current_thread().name

    @batch_processor(queue="work")
    async def names(items: list[int]) -> list[str]:
        await asyncio.sleep(0)
        return [threading.current_thread().name for _ in items]

    jobs = await finished(desk, names, 1)

    assert desk.result(jobs[0]) == here


async def test_a_plain_function_that_blocks_does_not_stop_another_queue(desk: Desk) -> None:
    go = threading.Event()

    @batch_processor(queue="work")
    def blocks(items: list[int]) -> list[int]:
        go.wait(10)
        return items

    with desk_at(desk.url, "other") as other:
        async with Worker([blocks, Recorder("other")], settings=quick(desk.url)):
            slow = desk.submit(1)
            await until(lambda: desk.status().running == 1)
            quickly = other.submit(1)
            await until(lambda: other.are_final(quickly))
            assert not desk.are_final(slow)
            go.set()
            await until(lambda: desk.are_final(slow))


async def test_setup_comes_before_the_first_claim_and_teardown_after_the_last_result(desk: Desk) -> None:
    events: list[str] = []
    jobs = desk.submit(1, 2)

    class Model(BatchProcessor[int, int]):
        queue = "work"

        async def setup(self) -> None:
            await asyncio.sleep(0.02)
            events.append(f"setup, {desk.status().waiting} waiting, {len(desk.workers())} workers")

        async def process(self, batch: Batch[int]) -> list[int]:
            events.append("process")
            await asyncio.sleep(0.05)
            return batch.payloads

        async def teardown(self) -> None:
            events.append(f"teardown, {sum(desk.state(job) == 'succeeded' for job in jobs)} done")

    async with Worker([Model], settings=quick(desk.url)):
        await until(lambda: "process" in events)

    assert events == ["setup, 2 waiting, 0 workers", "process", "teardown, 2 done"]


async def test_a_setup_that_fails_raises_on_entry_and_leaves_nothing(desk: Desk) -> None:
    jobs = desk.submit(1)
    torn_down: list[str] = []

    class Fine(Recorder):
        async def teardown(self) -> None:
            torn_down.append(self.queue)

    class Fails(Recorder):
        async def setup(self) -> None:
            raise FileNotFoundError("model.bin")

    worker = Worker([Fine("fine"), Fails()], settings=quick(desk.url))
    with pytest.raises(ProcessorError, match="setup of Fails failed: FileNotFoundError: model"):
        await worker.start()

    assert torn_down == ["fine"]
    assert desk.status().waiting == len(jobs) == 1
    assert desk.workers() == set()
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ([1, 2, 3], ["ok", "ok", "ok"]),
        ((1, 2, 3), ["ok", "ok", "ok"]),
        ([1, ValueError("bad"), 3], ["ok", "ValueError", "ok"]),
        ([1, object(), 3], ["ok", "PayloadError", "ok"]),
        ([1, b"x" * 2_000_000, 3], ["ok", "ResultTooLarge", "ok"]),
        ([1, 2], ["ResultMismatch"] * 3),
        ([1, 2, 3, 4], ["ResultMismatch"] * 3),
        ("abc", ["ResultMismatch"] * 3),
        (None, ["ResultMismatch"] * 3),
        ({1, 2, 3}, ["ResultMismatch"] * 3),
        ({"a": 1}, ["ResultMismatch"] * 3),
    ],
    ids=[
        *("a list", "a tuple", "an exception", "no codec knows it", "too large", "too few", "too many"),
        *("a str", "None", "a set", "a mapping"),
    ],
)
async def test_the_answer_of_a_function_over_payloads(
    desk: Desk, answer: object, expected: list[str]
) -> None:
    @batch_processor(queue="work")
    async def answers(_items: list[int]) -> Any:
        return answer

    jobs = await finished(desk, answers, "a", "b", "c")

    assert types(desk, jobs) == expected
    for job, result in zip(jobs, (1, 2, 3), strict=True):
        if desk.state(job) == "succeeded":
            assert desk.result(job) == result


async def test_the_answer_of_a_function_over_a_batch_may_be_a_mapping_in_any_order(desk: Desk) -> None:
    @batch_processor(queue="work")
    async def index(batch: Batch[str]) -> dict[str, str]:
        return {job.id: job.payload.upper() for job in reversed(batch)}

    jobs = await finished(desk, index, "a", "b", "c")

    assert [desk.result(job) for job in jobs] == ["A", "B", "C"]


@pytest.mark.parametrize("change", ["missing", "unknown", "other"])
async def test_a_mapping_that_has_not_exactly_the_ids_fails_the_batch(desk: Desk, change: str) -> None:
    class Index(BatchProcessor[str, int]):
        queue = "work"

        def process(self, batch: Batch[str]) -> dict[str, int]:
            answer = {job.id: 1 for job in batch}
            if change != "unknown":
                del answer[batch[0].id]
            if change != "missing":
                answer["work/stranger"] = 1
            return answer

    jobs = await finished(desk, Index(), "a", "b")

    assert types(desk, jobs) == ["ResultMismatch"] * 2


@pytest.mark.parametrize(
    "error", [KeyError("k"), SystemExit(1), KeyboardInterrupt(), asyncio.CancelledError()]
)
@pytest.mark.parametrize("kind", ["async", "plain"])
async def test_what_a_processor_raises_fails_its_batch_and_the_worker_goes_on(
    desk: Desk, error: BaseException, kind: str
) -> None:
    first = True

    def process(items: list[int]) -> list[int]:
        nonlocal first
        if first:
            first = False
            raise error
        return items

    async def process_async(items: list[int]) -> list[int]:
        return process(items)

    declare = batch_processor(queue="work", max_wait_ms=0, on_batch_error="fail")
    processor = declare(process if kind == "plain" else process_async)
    async with Worker([processor], settings=quick(desk.url)):
        failing = desk.submit(1, 2)
        await until(lambda: desk.are_final(failing))
        fine = desk.submit(3)
        await until(lambda: desk.are_final(fine))

    assert types(desk, failing) == [type(error).__name__] * 2
    assert "process" in desk.error(failing[0])["traceback"]
    assert desk.result(fine[0]) == 3


async def test_a_job_is_acknowledged_only_after_it_was_processed_and_has_one_result(desk: Desk) -> None:
    recorder = Recorder(max_wait_ms=0)
    recorder.gate.clear()
    async with Worker([recorder], settings=quick(desk.url)) as worker:
        (job,) = desk.submit("x")
        await until(lambda: recorder.running == 1)
        pending = desk.redis.xpending(desk.keys.lane("main"), "workers")
        assert pending["pending"] == 1
        assert desk.held_batches() == [desk.keys.batches(worker.id)]
        assert desk.state(job) == "queued"

        recorder.gate.set()
        await until(lambda: desk.are_final([job]))
        await until(desk.is_clean)

    assert desk.redis.xlen(desk.keys.lane("main")) == 0
    assert desk.record(job)["attempt"] == b"1"
    assert desk.record(job)["ran"].split()[1] == worker.id.encode()


def _raise() -> NoReturn:
    raise ValueError("teardown")


async def test_a_teardown_that_raises_does_not_stop_the_next_one(desk: Desk) -> None:
    torn_down: list[str] = []

    class Fails(Recorder):
        async def teardown(self) -> None:
            torn_down.append(self.queue)
            _raise()

    async with Worker([Fails("one"), Fails("two")], settings=quick(desk.url)):
        pass

    assert sorted(torn_down) == ["one", "two"]
