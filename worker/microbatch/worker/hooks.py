"""Hooks: code of the user's that is told how jobs and batches ended.

Rule: it is told after the outcomes are written; whatever it does, it costs no job its result, and what it
raises is logged. It holds the batch's slot while it runs, so that a slow hook slows its own worker alone.
"""

from __future__ import annotations

import inspect
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from microbatch.common.codec import decode
from microbatch.common.errors import ProcessorError
from microbatch.common.jobs.happenings import parse_error
from microbatch.worker.answers import describe
from microbatch.worker.batch import token_of
from microbatch.worker.declaration import HOOKS
from microbatch.worker.processor import BatchProcessor
from microbatch.worker.threads import ProcessorExit, SlotThreads, guarded

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

    from microbatch.common.jobs.update import ErrorFacts
    from microbatch.common.scripts import Outcome
    from microbatch.worker.batch import Batch, Job

    OnSuccess = Callable[[Job[Any], Any], Awaitable[None] | None]
    OnFailure = Callable[[Job[Any], ErrorFacts], Awaitable[None] | None]

__all__ = ["BatchReport", "Hooks", "checked_hooks"]

log = logging.getLogger("microbatch.worker")


@dataclass(frozen=True, slots=True)
class BatchReport:
    """How a batch ended.

    Attributes:
        size: How many jobs it had.
        succeeded: How many of them have a result now.
        failed: How many failed for good.
        retried: How many are run again.
        expired: How many were not started by their deadline.
        waited_ms: How long its oldest job had waited when it was claimed, in milliseconds.
        run_ms: How long it took from then to its last outcome.
    """

    size: int
    succeeded: int
    failed: int
    retried: int
    expired: int
    waited_ms: int
    run_ms: int


class Hooks:
    """The hooks of one queue's processors, and those of the worker.

    Args:
        processors: The queue's, by kind.
        everywhere: The worker's own hooks, by name.
    """

    def __init__(
        self, processors: Sequence[BatchProcessor[Any, Any]], everywhere: Mapping[str, Callable[..., Any]]
    ) -> None:
        self._processors = {each.kind: each for each in processors}
        self._everywhere = everywhere
        self._threads = SlotThreads("microbatch-hooks", 1)
        self.is_empty = not everywhere and not any(
            _is_hooked(each, name) for each in processors for name in HOOKS
        )

    async def tell(self, batch: Batch[Any], written: Sequence[Outcome], report: BatchReport) -> None:
        """Call them, one after the other; raises nothing."""
        jobs = {token_of(job): job for job in batch}
        for outcome in written:
            job = jobs.get(outcome.entry.token)
            if job is None:  # it came too late to be shown to the processor
                continue
            if outcome.state == "succeeded":
                for hook in self._hooks("on_success", {job.kind}):
                    await self._call(hook, job, decode(outcome.value))
            elif outcome.state == "failed":
                for hook in self._hooks("on_failure", {job.kind}):
                    await self._call(hook, job, parse_error(decode(outcome.value)))
        for hook in self._hooks("on_batch", {job.kind for job in batch}):
            await self._call(hook, batch, report)

    def stop(self) -> None:
        """Let the thread of plain hooks end."""
        self._threads.stop()

    def _hooks(self, name: str, kinds: set[str]) -> Iterator[Callable[..., Any]]:
        for kind, processor in self._processors.items():
            if kind in kinds and _is_hooked(processor, name):
                yield getattr(processor, name)
        if name in self._everywhere:
            yield self._everywhere[name]

    async def _call(self, hook: Callable[..., Any], *arguments: Any) -> None:
        try:
            if inspect.iscoroutinefunction(hook):
                answer = hook(*arguments)
            else:
                answer = await self._threads.call(hook, *arguments)
            if inspect.isawaitable(answer):
                await guarded(answer)
        except Exception as error:
            cause = error.raised if isinstance(error, ProcessorExit) else error
            name = getattr(hook, "__qualname__", repr(hook))
            log.error("the hook %s raised: %s", name, describe(cause), exc_info=cause)


def checked_hooks(hooks: Mapping[str, Callable[..., Any]]) -> Mapping[str, Callable[..., Any]]:
    """The same hooks.

    Raises:
        ProcessorError: A name that is none, or what is no function.
    """
    for name, hook in hooks.items():
        if name not in HOOKS:
            raise ProcessorError(f"a worker has no hook {name!r}; it has {', '.join(HOOKS)}")
        if not callable(hook):
            raise ProcessorError(f"the hook {name} must be a function")
    return hooks


def _is_hooked(processor: BatchProcessor[Any, Any], name: str) -> bool:
    hook = getattr(processor, name)
    return getattr(hook, "__func__", hook) is not getattr(BatchProcessor, name)
