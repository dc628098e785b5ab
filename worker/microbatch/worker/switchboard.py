"""The switchboard: several processors over one queue, each for the jobs of its kind.

Rule: a batch forms over the whole queue, and each processor is called once with the jobs of its kind, one
after the other, in the order of their oldest jobs. What one kind does to its jobs (raise, hang, die) costs
the others nothing: what is known is settled before the next kind runs. A job of an unknown kind fails alone
and for good.

It never looks into payloads.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from microbatch.common.codec import encode_error
from microbatch.common.scripts import Outcome
from microbatch.worker.batch import Batch
from microbatch.worker.executor import BatchLost
from microbatch.worker.retries import RetryRules, wish_of
from microbatch.worker.runner import Runner

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from microbatch.common.jobs.entry import Entry
    from microbatch.common.settings.queue import QueueSettings
    from microbatch.worker.child_sideline import Sideline
    from microbatch.worker.executor import Settle
    from microbatch.worker.processor import BatchProcessor

__all__ = ["UNKNOWN_KIND", "Switchboard", "runner_of"]

UNKNOWN_KIND = "UnknownKind"
"""The error type of a job that no processor of its queue is for."""


class Switchboard:
    """The processors of one queue, by kind.

    Args:
        processors: Each with another `kind`; the one without takes jobs that name none.
        settings: The queue's.
        on_stuck: As for `Runner`.
    """

    def __init__(
        self,
        processors: Sequence[BatchProcessor[Any, Any]],
        settings: QueueSettings,
        on_stuck: Callable[[str], None] = lambda _why: None,
    ) -> None:
        self._queue = settings.queue
        self._runners = {each.kind: Runner(each, settings, on_stuck) for each in processors}

    async def setup(self) -> None:
        """Prepare all processors, one after the other; those that are ready are torn down where one fails.

        Raises:
            ProcessorError: The `setup` of one raised.
        """
        ready: list[Runner] = []
        for runner in self._runners.values():
            try:
                await runner.setup()
            except BaseException:
                for other in ready:
                    await other.teardown()
                raise
            ready.append(runner)

    async def run(
        self, batch: Batch[Any], entries: Sequence[Entry], settle_early: Settle | None = None
    ) -> list[Outcome]:
        """Process a batch kind by kind, as `Runner.run`; its `BatchLost` comes after all kinds have run."""
        known: list[Outcome] = []
        lost: BatchLost | None = None
        for kind, indexes in self._sorted(batch).items():
            if known and settle_early is not None:
                await settle_early(known)
                known = []
            theirs = [entries[index] for index in indexes]
            if kind not in self._runners:
                known += [Outcome(entry, "failed", self._unknown(kind)) for entry in theirs]
                continue
            part = Batch(batch.id, batch.queue, batch.reason, [batch[index] for index in indexes])
            try:
                ran = await self._runners[kind].run(part, theirs, self._early(kind, settle_early))
                known += self._with_wishes(kind, ran)
            except BatchLost as error:
                lost = lost or error
        if lost is not None:
            if known and settle_early is not None:
                await settle_early(known)
            raise lost
        return known

    @property
    def rules(self) -> RetryRules:
        """None are left to apply: an exception has become the wish that its own processor's rules allow."""
        return RetryRules()

    @property
    def blocks_loop(self) -> bool:
        """Whether a call that hangs may hang the event loop."""
        return any(runner.blocks_loop for runner in self._runners.values())

    @property
    def may_stick(self) -> bool:
        """Whether a call may outlast its cancellation."""
        return any(runner.may_stick for runner in self._runners.values())

    def resize(self, slots: int) -> None:
        """Make room for so many batches at a time."""
        for runner in self._runners.values():
            runner.resize(slots)

    def sidelines(self) -> list[Sideline]:
        """The lines to the processes in which they run; safe to call from any thread."""
        return [line for runner in self._runners.values() for line in runner.sidelines()]

    def cancelled(self, token: str) -> None:
        """Let a running processor see that the job of this entry was cancelled."""
        for runner in self._runners.values():
            runner.cancelled(token)

    def due_s(self) -> list[float]:
        """By when each running call must have ended; safe to call from any thread."""
        return [due_s for runner in self._runners.values() for due_s in runner.due_s()]

    async def teardown(self) -> None:
        """Release what the processors hold."""
        for runner in self._runners.values():
            await runner.teardown()

    def abandon(self) -> None:
        """Leave without a teardown, because a call is stuck."""
        for runner in self._runners.values():
            runner.abandon()

    def _sorted(self, batch: Batch[Any]) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for index, job in enumerate(batch):
            found.setdefault(job.kind, []).append(index)
        return found

    def _early(self, kind: str, settle_early: Settle | None) -> Settle | None:
        if settle_early is None:
            return None

        async def settle(outcomes: list[Outcome]) -> None:
            await settle_early(self._with_wishes(kind, outcomes))

        return settle

    def _with_wishes(self, kind: str, outcomes: list[Outcome]) -> list[Outcome]:
        """Judge exceptions by the rules of the processor that raised them: whoever settles knows no kinds."""
        rules = self._runners[kind].rules
        return [
            replace(outcome, cause=wish_of(outcome.cause, rules))
            if isinstance(outcome.cause, BaseException)
            else outcome
            for outcome in outcomes
        ]

    def _unknown(self, kind: str) -> bytes:
        kinds = ", ".join(sorted(filter(None, self._runners)))
        said = f"no processor for kind {kind!r:.140}" if kind else "the job names no kind"
        return encode_error(UNKNOWN_KIND, f"{said}; queue {self._queue} has {kinds}")


def runner_of(
    processors: Sequence[BatchProcessor[Any, Any]], settings: QueueSettings, on_stuck: Callable[[str], None]
) -> Runner | Switchboard:
    """What runs the batches of a queue: a single processor without a kind takes every job."""
    if len(processors) == 1 and not processors[0].kind:
        return Runner(processors[0], settings, on_stuck)
    return Switchboard(processors, settings, on_stuck)
