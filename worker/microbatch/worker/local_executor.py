"""Run a processor in this process: `async def` on the event loop, `def` in threads.

Rule: whatever the user's code does, it cannot take the loop's own signals' meaning, and plain functions
leave the loop free, so that heartbeats and Redis traffic go on. A call that outlasts its time-out is
cancelled; one that cannot be (a thread, a coroutine that swallows it) is abandoned and reported as stuck.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from functools import partial
from typing import TYPE_CHECKING, Any

from microbatch.common.errors import ProcessorError, ResultMismatch
from microbatch.worker.answers import describe, failures, outcomes
from microbatch.worker.batch import Retry
from microbatch.worker.executor import BatchLost, Run
from microbatch.worker.fitting import fitting_of
from microbatch.worker.processor import BatchProcessor
from microbatch.worker.pump import Pump
from microbatch.worker.result_stream import ResultStream
from microbatch.worker.threads import ProcessorExit, SlotThreads

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence

    from microbatch.common.jobs.entry import Entry
    from microbatch.common.scripts import Outcome
    from microbatch.common.settings.queue import QueueSettings
    from microbatch.worker.batch import Batch
    from microbatch.worker.child_sideline import Sideline
    from microbatch.worker.executor import Settle

__all__ = ["LocalExecutor"]

log = logging.getLogger("microbatch.worker")
CANCEL_GRACE_S = 1.0


class LocalExecutor:
    """One processor in this process.

    Args:
        processor: What to run.
        settings: Its queue's.
        on_stuck: Called when a call was abandoned: this process cannot be cleaned of it.
    """

    def __init__(
        self, processor: BatchProcessor[Any, Any], settings: QueueSettings, on_stuck: Callable[[str], None]
    ) -> None:
        self._processor = processor
        self._settings = settings
        self._on_stuck = on_stuck
        self._fitting = fitting_of(processor)
        # Looking at the function costs more than all else that a small batch needs here.
        self._is_async, self._is_stream = processor.is_async, processor.is_stream
        self._threads = SlotThreads(f"microbatch-{processor.queue}", settings.concurrency)

    async def setup(self) -> None:
        """Prepare the processor.

        Raises:
            ProcessorError: Its `setup` raised; the cause says what.
        """
        try:
            await self._hook(self._processor.setup)
        except Exception as error:  # noqa: BLE001 - the user's code raises what it likes
            self._threads.stop()
            cause = error.raised if isinstance(error, ProcessorExit) else error
            raise ProcessorError(f"setup of {self._processor.name} failed: {describe(cause)}") from cause

    async def execute(self, batch: Batch[Any], entries: Sequence[Entry], settle: Settle | None = None) -> Run:
        """Call the processor; raises nothing but `BatchLost`, and when it is cancelled itself."""
        if self._fitting is None:
            return await self._execute(batch, entries, settle)
        fit = self._fitting.fit(batch, entries)
        run = await self._execute(fit.batch, fit.entries, settle) if fit.entries else Run([], "clean")
        if self._is_stream:
            return Run([*fit.failed.values(), *run.outcomes], run.ending)
        return Run(fit.merged(run.outcomes), run.ending)

    async def _execute(self, batch: Batch[Any], entries: Sequence[Entry], settle: Settle | None) -> Run:
        if self._is_stream:
            return await self._stream(batch, entries, settle)

        async def answered() -> list[Outcome]:
            return outcomes(
                batch,
                entries,
                await self._answer(self._processor.process, batch),
                mapping_allowed=not self._processor.takes_payloads,
                max_result_bytes=self._settings.max_result_bytes,
            )

        return await self._judged(len(batch), answered(), lambda: entries)

    async def _stream(self, batch: Batch[Any], entries: Sequence[Entry], settle: Settle | None) -> Run:
        async with Pump(settle) as pump:
            stream = ResultStream(entries, pump, self._settings.max_result_bytes)
            run_through = stream.follow if self._is_async else stream.walk

            async def answered() -> list[Outcome]:
                await self._answer(partial(run_through, self._processor.process), batch)
                stream.check_complete()
                return []

            run = await self._judged(len(batch), answered(), lambda: stream.left)
        return Run(pump.kept + run.outcomes, run.ending)

    async def _judged(
        self, size: int, answered: Coroutine[Any, Any, list[Outcome]], left: Callable[[], Sequence[Entry]]
    ) -> Run:
        """How a run ended: with what it `answered`, or with an error for the jobs that are `left`."""
        name = self._processor.name
        try:
            return Run(await answered, "clean")
        except BatchLost:
            raise
        except Retry as retry:
            log.info("%s asked for another run of a batch of %d: %s", name, size, describe(retry))
            return Run(failures(left(), retry), "decided")
        except ResultMismatch as error:
            log.error("%s answered a batch of %d wrongly: %s", name, size, error)
            return Run(failures(left(), error), "decided")
        except ProcessorExit as error:
            log.error("%s raised for a batch of %d: %s", name, size, describe(error.raised))
            return Run(failures(left(), error.raised), "raised")
        except Exception as error:  # noqa: BLE001 - the user's code raises what it likes
            log.warning("%s raised for a batch of %d: %s", name, size, describe(error))
            return Run(failures(left(), error), "raised")

    async def teardown(self) -> None:
        """Release what the processor holds. An error is logged: the jobs are settled already."""
        try:
            await self._hook(self._processor.teardown)
        except Exception:
            log.exception("teardown of %s failed", self._processor.name)
        self._threads.stop()

    def resize(self, slots: int) -> None:
        """Start as many threads as there are slots; those that are left over sleep."""
        self._threads.size = slots

    def sidelines(self) -> list[Sideline]:
        """None: it runs here."""
        return []

    def cancelled(self, token: str) -> None:
        """Nothing to do: its jobs see their entries."""

    def abandon(self) -> None:
        """Leave without a teardown; a thread that is stuck in `process` ends when it comes back."""
        self._threads.stop()

    async def _answer(self, process: Callable[[Batch[Any]], Any], batch: Batch[Any]) -> Any:
        if self._is_async:
            return await self._on_loop(process(batch))
        limit = asyncio.timeout(self._settings.batch_timeout_s)
        try:
            async with limit:
                answer = await self._threads.call(process, batch)
        except TimeoutError:
            if not limit.expired():
                raise  # the processor's own
            raise self._lost(is_stuck=True) from None
        # A plain function around a coroutine function, such as a decorator makes.
        return await self._on_loop(answer) if inspect.isawaitable(answer) else answer

    async def _on_loop(self, answer: Awaitable[Any]) -> Any:
        # A task of its own: a processor that raises CancelledError or SystemExit, or cancels itself, must not
        # take the loop's own signals' meaning.
        ended = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(_guarded(answer, ended))
        try:
            if self._settings.batch_timeout_s is None:
                kind, value = await ended
            else:
                await asyncio.wait((ended,), timeout=self._settings.batch_timeout_s)
                if not ended.done():
                    task.cancel()
                    await asyncio.wait((task,), timeout=CANCEL_GRACE_S)
                    raise self._lost(is_stuck=not task.done())
                kind, value = ended.result()
        except asyncio.CancelledError:  # ours: the batch was handed back
            task.cancel()
            await asyncio.wait((task,))
            raise
        if kind == "raised":
            try:
                raise value if isinstance(value, Exception) else ProcessorExit(value)
            finally:  # its traceback has this frame: what the frame still named would be a cycle
                del ended, task, value
        return value

    def _lost(self, *, is_stuck: bool) -> BatchLost:
        why = f"{self._processor.name} took longer than {self._settings.batch_timeout_s:g} s"
        if is_stuck:
            self._on_stuck(f"{why} and cannot be stopped")
        return BatchLost(why, timed_out=True)

    async def _hook(self, hook: Callable[[], Any]) -> None:
        if getattr(hook, "__func__", hook) in {BatchProcessor.setup, BatchProcessor.teardown}:
            return  # nothing to do: start no thread for it
        if inspect.iscoroutinefunction(hook):
            await hook()
        else:
            await self._threads.call(hook)


async def _guarded(answer: Awaitable[Any], ended: asyncio.Future[tuple[str, Any]]) -> None:
    task = asyncio.current_task()
    try:
        said: tuple[str, Any] = ("answered", await answer)
        if task is not None and task.cancelling():  # it cancelled itself, and never waited since
            said = ("raised", asyncio.CancelledError())
    except BaseException as error:  # noqa: BLE001 - see _on_loop
        said = ("raised", error)
    if not ended.done():  # the batch was handed back, and nobody waits
        ended.set_result(said)
    del said, ended  # the traceback of what was raised has this frame: see there
