"""Run the batches of one queue: find who is to blame when the processor raises, give up what hangs.

Rule: every claimed job gets exactly one outcome, or the rest of the batch is lost (`BatchLost`) and has none.
A failed batch is run again in halves within the same claim, so that a bad job costs its mates no attempt.
"""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from microbatch.common.errors import BatchTimeout
from microbatch.worker.answers import failures
from microbatch.worker.batch import Batch
from microbatch.worker.executor import BatchLost, Run
from microbatch.worker.halving import halves
from microbatch.worker.local_executor import LocalExecutor
from microbatch.worker.process_executor import ProcessExecutor
from microbatch.worker.retries import RetryRules, RetryWish, wish_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from microbatch.common.jobs.entry import Entry
    from microbatch.common.scripts import Outcome
    from microbatch.common.settings.queue import QueueSettings
    from microbatch.worker.child_sideline import Sideline
    from microbatch.worker.executor import Executor, Settle
    from microbatch.worker.processor import BatchProcessor

__all__ = ["Runner"]

log = logging.getLogger("microbatch.worker")


class Runner:
    """One processor and the place where it runs.

    Args:
        processor: What to run.
        settings: Its queue's.
        on_stuck: Called when a call hangs and cannot be stopped: only the end of this process ends it.
    """

    def __init__(
        self,
        processor: BatchProcessor[Any, Any],
        settings: QueueSettings,
        on_stuck: Callable[[str], None] = lambda _why: None,
    ) -> None:
        self.processor = processor
        self._settings = settings
        self._on_stuck = on_stuck
        self._is_stuck = False
        self._executor: Executor = (
            ProcessExecutor(processor, settings, self._stuck)
            if settings.executor == "process"
            else LocalExecutor(processor, settings, self._stuck)
        )
        self._due_s: dict[str, float] = {}

    async def setup(self) -> None:
        """Prepare the processor.

        Raises:
            ProcessorError: Its `setup` raised; the cause says what.
        """
        await self._executor.setup()

    async def run(
        self,
        batch: Batch[Any],
        entries: Sequence[Entry],
        settle_early: Settle | None = None,
    ) -> list[Outcome]:
        """Process a batch, and where the processor raises for several jobs, its halves.

        Args:
            batch: What to process.
            entries: The entries of its jobs, in the same order.
            settle_early: Takes what is known before the last part has run; None: all is returned together.

        Returns:
            The outcomes that `settle_early` has not been given.

        Raises:
            BatchLost: A part of several jobs hangs, or a process died: what was not settled has no outcome.
        """
        try:
            run = await self._call(batch, entries, settle_early)
        except BatchLost as lost:
            if len(batch) == 1 and lost.timed_out:
                return failures(entries, BatchTimeout(str(lost)))
            raise
        if run.ending != "raised" or len(run.outcomes) <= 1 or self._settings.on_batch_error == "fail":
            return run.outcomes
        if self._settings.on_batch_error == "retry":
            return [self._asked_again(outcome) for outcome in run.outcomes]
        return await self._run_halves(*_those_of(run.outcomes, batch, entries), settle_early)

    async def _run_halves(
        self, batch: Batch[Any], entries: Sequence[Entry], settle_early: Settle | None
    ) -> list[Outcome]:
        known: list[Outcome] = []
        done: set[str] = set()  # the deliveries that have an outcome
        plan = halves(0, len(batch))
        start, stop = next(plan)
        while True:
            indexes = [index for index in range(start, stop) if entries[index].token not in done]
            part = Batch(batch.id, batch.queue, batch.reason, [batch[index] for index in indexes])
            theirs = [entries[index] for index in indexes]
            run = await self._call(part, theirs, settle_early) if theirs else Run([], "clean")
            left = {outcome.entry.token for outcome in run.outcomes}
            if run.ending != "raised" or len(left) <= 1:
                known += run.outcomes
                left = set()
            done |= {entry.token for entry in theirs} - left
            try:
                start, stop = plan.send(run.ending)
            except StopIteration:
                return known
            if known and settle_early is not None:
                await settle_early(known)
                known = []

    @property
    def rules(self) -> RetryRules:
        """Which exceptions are worth another run."""
        return RetryRules.of(self.processor.retry_on, self.processor.give_up_on)

    @property
    def may_stick(self) -> bool:
        """Whether a call may outlast its cancellation."""
        return not self.processor.is_async

    @property
    def blocks_loop(self) -> bool:
        """Whether a call that hangs may hang the event loop."""
        return self.processor.is_async and self._settings.executor != "process"

    def resize(self, slots: int) -> None:
        """Make room for so many batches at a time."""
        self._executor.resize(slots)

    def sidelines(self) -> list[Sideline]:
        """The lines to the processes in which it runs; safe to call from any thread."""
        return self._executor.sidelines()

    def cancelled(self, token: str) -> None:
        """Let a running processor see that the job of this entry was cancelled."""
        self._executor.cancelled(token)

    def due_s(self) -> list[float]:
        """By when each running call must have ended, on the monotonic clock; safe to call from any thread."""
        return list(self._due_s.values())

    async def teardown(self) -> None:
        """Release what the processor holds, unless a call is stuck in it."""
        if self._is_stuck:
            self.abandon()
        else:
            await self._executor.teardown()

    def abandon(self) -> None:
        """Leave without a teardown, because a call is stuck: a teardown beside it could only hang."""
        log.warning("queue %s: no teardown, a batch was abandoned", self._settings.queue)
        self._executor.abandon()

    async def _call(self, batch: Batch[Any], entries: Sequence[Entry], settle: Settle | None) -> Run:
        limit_s = self._settings.batch_timeout_s
        if limit_s is not None:
            self._due_s[batch.id] = time.monotonic() + limit_s
        try:
            return await self._executor.execute(batch, entries, settle)
        finally:
            self._due_s.pop(batch.id, None)

    def _asked_again(self, outcome: Outcome) -> Outcome:
        """The same failure as if the processor had raised `Retry`, unless it is one to give up on."""
        cause = outcome.cause
        if (wish_of(cause, self.rules) if isinstance(cause, BaseException) else cause) is None:
            return outcome
        return replace(outcome, cause=RetryWish(asked=True))

    def _stuck(self, why: str) -> None:
        self._is_stuck = True
        self._on_stuck(why)


def _those_of(
    outcomes: Sequence[Outcome], batch: Batch[Any], entries: Sequence[Entry]
) -> tuple[Batch[Any], Sequence[Entry]]:
    """The part of a batch to which these outcomes belong: the rest was settled while it ran."""
    tokens = {outcome.entry.token for outcome in outcomes}
    if len(tokens) == len(entries):
        return batch, entries
    indexes = [index for index, entry in enumerate(entries) if entry.token in tokens]
    jobs = [batch[index] for index in indexes]
    return Batch(batch.id, batch.queue, batch.reason, jobs), [entries[index] for index in indexes]
