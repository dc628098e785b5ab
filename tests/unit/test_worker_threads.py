"""Slot threads and the runner: whatever a processor does, its batch gets an answer and the loop goes on."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import threading
import weakref
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
from tests.chaos.kit import make_batch, until

from microbatch.common.codec import decode
from microbatch.common.errors import ProcessorError
from microbatch.common.settings import WorkerSettings, queue_settings
from microbatch.worker import Batch, BatchProcessor, batch_processor
from microbatch.worker.runner import Runner
from microbatch.worker.threads import ProcessorExit, SlotThreads

if TYPE_CHECKING:
    from collections.abc import Iterator

    from microbatch.worker.processor import BatchProcessor as AnyProcessor


@pytest.fixture
def threads() -> Iterator[SlotThreads]:
    made = SlotThreads("slots", 2)
    yield made
    made.stop()


def runner_of(processor: AnyProcessor[Any, Any], concurrency: int = 1) -> Runner:
    settings = WorkerSettings(concurrency=concurrency)
    return Runner(processor, queue_settings(processor.queue, settings=settings))


async def types_of(processor: AnyProcessor[Any, Any]) -> list[str]:
    """The error type of each of two jobs, `ok` where it succeeded."""
    runner = runner_of(processor)
    batch, entries = make_batch(["a", "b"])
    judged = await runner.run(batch, entries)
    await runner.teardown()
    return ["ok" if outcome.succeeded else decode(outcome.value)["type"] for outcome in judged]


# --- threads --------------------------------------------------------------------------------


async def test_one_call_after_the_other_runs_in_the_same_daemon_thread(threads: SlotThreads) -> None:
    seen = {await threads.call(threading.current_thread) for _ in range(5)}

    assert [(thread.name, thread.daemon) for thread in seen] == [("slots-0", True)]


async def test_there_are_as_many_threads_as_slots_and_no_more(threads: SlotThreads) -> None:
    meet = threading.Barrier(2)

    def both() -> str:
        meet.wait(5)
        return threading.current_thread().name

    names = await asyncio.gather(*(threads.call(both) for _ in range(4)))

    assert set(names) == {"slots-0", "slots-1"}


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), StopIteration(7), GeneratorExit()])
async def test_an_exit_in_a_thread_reaches_the_caller_as_a_plain_exception(
    threads: SlotThreads, error: BaseException
) -> None:
    def leave() -> NoReturn:
        raise error

    with pytest.raises(ProcessorExit) as caught:
        await threads.call(leave)

    assert caught.value.raised is error
    assert await threads.call(lambda: 1) == 1  # the thread lives


async def test_an_exception_is_raised_at_the_caller_as_it_is(threads: SlotThreads) -> None:
    with pytest.raises(ZeroDivisionError):
        await threads.call(lambda: 1 / 0)


async def test_the_callers_context_is_there_and_changes_stay_in_the_call(threads: SlotThreads) -> None:
    color = contextvars.ContextVar("color", default="none")
    color.set("red")

    def change() -> str:
        before = color.get()
        color.set("blue")
        return before

    assert await threads.call(change) == "red"
    assert color.get() == "red"


async def test_a_call_that_was_abandoned_hurts_nobody_when_it_ends(threads: SlotThreads) -> None:
    go = threading.Event()
    call = asyncio.create_task(threads.call(go.wait, 5))
    await asyncio.sleep(0)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    go.set()

    assert await threads.call(lambda: "next") == "next"


async def test_a_thread_keeps_nothing_of_the_call_before(threads: SlotThreads) -> None:
    class Big:
        pass

    big = Big()
    gone = weakref.ref(big)
    await threads.call(id, big)
    del big

    await until(lambda: gc.collect() is not None and gone() is None)


async def test_stopped_threads_end() -> None:
    threads = SlotThreads("brief", 1)
    thread = await threads.call(threading.current_thread)

    threads.stop()

    await until(lambda: not thread.is_alive())


def test_a_thread_whose_loop_is_closed_ends() -> None:
    threads = SlotThreads("orphan", 1)
    go = threading.Event()

    async def abandon() -> None:
        call = asyncio.ensure_future(threads.call(go.wait, 5))
        await asyncio.sleep(0)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)

    asyncio.run(abandon())
    go.set()

    threads._threads[0].join(5)
    assert not threads._threads[0].is_alive()


# --- runner ---------------------------------------------------------------------------------

EXITS = [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError(), GeneratorExit(), ValueError("bad")]


@pytest.mark.parametrize("error", EXITS, ids=lambda error: type(error).__name__)
async def test_whatever_an_async_processor_raises_its_batch_fails_with_that(error: BaseException) -> None:
    @batch_processor(queue="q")
    async def raises(_items: list[int]) -> NoReturn:
        raise error

    assert await types_of(raises) == [type(error).__name__] * 2


@pytest.mark.parametrize("error", [*EXITS, StopIteration(1)], ids=lambda error: type(error).__name__)
async def test_whatever_a_plain_processor_raises_its_batch_fails_with_that(error: BaseException) -> None:
    @batch_processor(queue="q")
    def raises(_items: list[int]) -> NoReturn:
        raise error

    assert await types_of(raises) == [type(error).__name__] * 2


async def test_a_processor_that_cancels_its_own_task_fails_its_batch_and_not_the_worker() -> None:
    @batch_processor(queue="q")
    async def cancels_itself(items: list[int]) -> list[int]:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        return items

    assert await types_of(cancels_itself) == ["CancelledError"] * 2


async def test_a_wrong_answer_fails_the_batch_with_result_mismatch() -> None:
    @batch_processor(queue="q")
    async def too_few(items: list[int]) -> list[int]:
        return items[:1]

    assert await types_of(too_few) == ["ResultMismatch"] * 2


async def test_a_plain_wrapper_around_an_async_function_is_awaited_on_the_loop() -> None:
    async def inner(items: list[int]) -> list[str]:
        await asyncio.sleep(0)
        return [threading.current_thread().name for _ in items]

    @batch_processor(queue="q")
    def wrapped(items: list[int]) -> Any:
        return inner(items)

    runner = runner_of(wrapped)
    batch, entries = make_batch(["a"])
    (outcome,) = await runner.run(batch, entries)
    await runner.teardown()

    assert outcome.succeeded, decode(outcome.value)
    assert decode(outcome.value) == threading.current_thread().name


async def test_our_own_cancellation_is_honoured_even_by_a_processor_that_swallows_it() -> None:
    entered, go = asyncio.Event(), asyncio.Event()

    @batch_processor(queue="q")
    async def swallows(items: list[int]) -> list[int]:
        entered.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await go.wait()
        return items

    runner = runner_of(swallows)
    batch, entries = make_batch(["a"])
    running = asyncio.create_task(runner.run(batch, entries))
    await entered.wait()
    running.cancel()
    go.set()

    with pytest.raises(asyncio.CancelledError):
        await running
    await runner.teardown()


class Unshowable(Exception):
    def __repr__(self) -> str:
        raise RuntimeError("no")

    __str__ = __repr__


async def test_an_error_that_cannot_be_shown_breaks_no_log_line(caplog: pytest.LogCaptureFixture) -> None:
    @batch_processor(queue="q")
    async def raises(_items: list[int]) -> NoReturn:
        raise Unshowable

    with caplog.at_level(logging.WARNING, logger="microbatch.worker"):
        assert await types_of(raises) == ["Unshowable"] * 2

    assert "Unshowable" in caplog.text


async def test_setup_and_process_of_a_plain_processor_share_their_thread() -> None:
    class Plain(BatchProcessor[int, str]):
        queue = "q"

        def setup(self) -> None:
            self.thread = threading.current_thread()

        def process(self, batch: Batch[int]) -> list[str]:
            return [str(self.thread is threading.current_thread()) for _ in batch]

        def teardown(self) -> None:
            assert self.thread is threading.current_thread()

    runner = runner_of(Plain())
    await runner.setup()
    batch, entries = make_batch(["a"])
    (outcome,) = await runner.run(batch, entries)
    await runner.teardown()

    assert decode(outcome.value) == "True"


@pytest.mark.parametrize("error", [ValueError("no model"), SystemExit("no model")])
async def test_a_setup_that_raises_is_a_processor_error_and_leaves_no_thread(error: BaseException) -> None:
    class Fails(BatchProcessor[int, int]):
        queue = "q"

        def setup(self) -> None:
            raise error

        async def process(self, batch: Batch[int]) -> list[int]:
            return batch.payloads

    runner = runner_of(Fails())
    with pytest.raises(
        ProcessorError, match=f"setup of Fails failed: {type(error).__name__}: no model"
    ) as caught:
        await runner.setup()

    assert caught.value.__cause__ is error
    await until(lambda: not any(each.name.startswith("microbatch-q") for each in threading.enumerate()))


async def test_a_teardown_that_raises_is_logged_and_swallowed(caplog: pytest.LogCaptureFixture) -> None:
    class Fails(BatchProcessor[int, int]):
        queue = "q"

        async def process(self, batch: Batch[int]) -> list[int]:
            return batch.payloads

        async def teardown(self) -> None:
            raise ValueError("stuck valve")

    await runner_of(Fails()).teardown()

    assert "stuck valve" in caplog.text
