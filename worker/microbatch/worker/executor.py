"""What it means to run a processor once: the contract of the places where one can run.

Rule: whatever the user's code does (raise, exit, answer nonsense), a run ends with one outcome per job, and
how it ended. Only a run that was lost (it hangs, or its process died) has no outcomes: it raises `BatchLost`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from microbatch.common.jobs.entry import Entry
    from microbatch.common.scripts import Outcome
    from microbatch.worker.batch import Batch
    from microbatch.worker.child_sideline import Sideline
    from microbatch.worker.halving import Ending

    Settle = Callable[[list[Outcome]], Awaitable[None]]

__all__ = ["BatchLost", "Executor", "Run"]


@dataclass(frozen=True, slots=True)
class Run:
    """One call of the processor: what each job ended with, and whether somebody is to blame for all.

    `outcomes` are those that were not settled while it ran.
    """

    outcomes: list[Outcome]
    ending: Ending


class BatchLost(Exception):
    """A run that will never answer; its late answer, if any, is thrown away.

    Attributes:
        timed_out: It took longer than `batch_timeout_s`.
        died: The process in which it ran, alone, has died.
    """

    def __init__(self, why: str, *, timed_out: bool = False, died: bool = False) -> None:
        super().__init__(why)
        self.timed_out = timed_out
        self.died = died


class Executor(Protocol):
    """A place where a processor runs."""

    async def setup(self) -> None:
        """Prepare the processor, once or once for each process.

        Raises:
            ProcessorError: Its `setup` failed.
        """

    async def execute(self, batch: Batch[Any], entries: Sequence[Entry], settle: Settle | None = None) -> Run:
        """Call the processor once; `settle` takes the outcomes that it yields before it ends.

        Raises:
            BatchLost: It hangs, or its process died.
        """

    async def teardown(self) -> None:
        """Release what the processor holds. An error is logged: the jobs are settled already."""

    def resize(self, slots: int) -> None:
        """Make room for so many calls at a time; whoever calls keeps to it."""

    def sidelines(self) -> list[Sideline]:
        """The lines to the processes in which it runs; none where it runs in this one. From any thread."""

    def cancelled(self, token: str) -> None:
        """Let a running processor see that the job of this entry was cancelled."""

    def abandon(self) -> None:
        """Leave without a teardown, because a call is stuck."""
