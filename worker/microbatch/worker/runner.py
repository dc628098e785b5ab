"""Run one processor: set it up, give it batches, judge its answers, tear it down.

Rule: whatever the user's code does (raise, exit, cancel itself, answer nonsense), the runner returns one
outcome per job. Plain functions run in threads, so that heartbeats and Redis traffic go on.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from typing import TYPE_CHECKING, Any, cast

from microbatch.common.errors import ProcessorError, ResultMismatch
from microbatch.worker.answers import describe, failures, outcomes
from microbatch.worker.processor import BatchProcessor
from microbatch.worker.threads import ProcessorExit, SlotThreads

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from microbatch.common.entry import Entry
    from microbatch.common.scripts import Outcome
    from microbatch.common.settings import QueueSettings
    from microbatch.worker.batch import Batch

__all__ = ["Runner"]

log = logging.getLogger("microbatch.worker")


class Runner:
    """One processor in this process."""

    def __init__(self, processor: BatchProcessor[Any, Any], settings: QueueSettings) -> None:
        self.processor = processor
        self._settings = settings
        self._threads = SlotThreads(f"microbatch-{processor.queue}", settings.concurrency)

    async def setup(self) -> None:
        """Prepare the processor.

        Raises:
            ProcessorError: Its `setup` raised; the cause says what.
        """
        try:
            await self._hook(self.processor.setup)
        except Exception as error:  # noqa: BLE001 - the user's code raises what it likes
            self._threads.stop()
            cause = error.raised if isinstance(error, ProcessorExit) else error
            raise ProcessorError(f"setup of {self.processor.name} failed: {describe(cause)}") from cause

    async def run(self, batch: Batch[Any], entries: Sequence[Entry]) -> list[Outcome]:
        """Process a batch; never raises but when it is cancelled itself."""
        try:
            answer = await self._process(batch)
            return outcomes(
                batch,
                entries,
                answer,
                mapping_allowed=not self.processor.takes_payloads,
                max_result_bytes=self._settings.max_result_bytes,
            )
        except ResultMismatch as error:
            log.error("%s answered a batch of %d wrongly: %s", self.processor.name, len(batch), error)
            return failures(entries, error)
        except ProcessorExit as error:
            log.error(
                "%s raised for a batch of %d: %s", self.processor.name, len(batch), describe(error.raised)
            )
            return failures(entries, error.raised)
        except Exception as error:  # noqa: BLE001 - the user's code raises what it likes
            log.warning("%s raised for a batch of %d: %s", self.processor.name, len(batch), describe(error))
            return failures(entries, error)

    async def teardown(self) -> None:
        """Release what the processor holds. An error is logged: the jobs are settled already."""
        try:
            await self._hook(self.processor.teardown)
        except Exception:
            log.exception("teardown of %s failed", self.processor.name)
        self._threads.stop()

    def abandon(self) -> None:
        """Leave without a teardown; a thread that is stuck in `process` ends when it comes back."""
        self._threads.stop()

    async def _process(self, batch: Batch[Any]) -> Any:
        if self.processor.is_async:
            return await self._on_loop(cast("Awaitable[Any]", self.processor.process(batch)))
        answer = await self._threads.call(self.processor.process, batch)
        # A plain function around a coroutine function, such as a decorator makes.
        return await self._on_loop(answer) if inspect.isawaitable(answer) else answer

    async def _on_loop(self, answer: Awaitable[Any]) -> Any:
        # A task of its own: a processor that raises CancelledError or SystemExit, or cancels itself, must not
        # take the loop's own signals' meaning.
        try:
            kind, value = await asyncio.ensure_future(_guarded(answer))
        except asyncio.CancelledError as error:
            kind, value = "raised", error
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise asyncio.CancelledError  # ours: the batch was handed back
        if kind == "raised":
            raise value if isinstance(value, Exception) else ProcessorExit(value)
        return value

    async def _hook(self, hook: Callable[[], Any]) -> None:
        if getattr(hook, "__func__", hook) in {BatchProcessor.setup, BatchProcessor.teardown}:
            return  # nothing to do: start no thread for it
        if inspect.iscoroutinefunction(hook):
            await hook()
        else:
            await self._threads.call(hook)


async def _guarded(answer: Awaitable[Any]) -> tuple[str, Any]:
    try:
        return "answered", await answer
    except BaseException as error:  # noqa: BLE001 - see _on_loop
        return "raised", error
