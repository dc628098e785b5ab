"""What a generator yields: results of single jobs, as they are ready.

Rule: each job of the batch has one result at most, and nobody gets another's: whatever is yielded that is not
`(job, result)` of a job that has none yet is an error of the code, for those that have none yet.
"""

from __future__ import annotations

from contextlib import aclosing, closing
from typing import TYPE_CHECKING, Any

from microbatch.common.errors import ResultMismatch
from microbatch.worker.answers import outcome_of
from microbatch.worker.batch import Job, token_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from microbatch.common.jobs.entry import Entry
    from microbatch.worker.batch import Batch
    from microbatch.worker.pump import Pump

__all__ = ["ResultStream"]


class ResultStream:
    """One run of a generator.

    Args:
        entries: The entries of the batch's jobs.
        pump: Where outcomes go.
        max_result_bytes: A larger encoded result fails its own job.
    """

    def __init__(self, entries: Sequence[Entry], pump: Pump, max_result_bytes: int) -> None:
        self._open = {entry.token: entry for entry in entries}
        self._pump = pump
        self._max_result_bytes = max_result_bytes

    @property
    def left(self) -> list[Entry]:
        """The entries of the jobs that have no result yet, in the batch's order."""
        return list(self._open.values())

    async def follow(self, process: Callable[[Batch[Any]], Any], batch: Batch[Any]) -> None:
        """Run an asynchronous generator to its end; raises what it raises."""
        async with aclosing(process(batch)) as results:
            async for each in results:
                self._take(each)

    def walk(self, process: Callable[[Batch[Any]], Any], batch: Batch[Any]) -> None:
        """Run a generator to its end; raises what it raises."""
        with closing(process(batch)) as results:
            for each in results:
                self._take(each)

    def check_complete(self) -> None:
        """Say that the generator has ended.

        Raises:
            ResultMismatch: There are jobs without a result.
        """
        if self._open:
            local = next(iter(self._open.values())).local
            raise ResultMismatch(f"no result for job {local} (of {len(self._open)} without one)")

    def _take(self, each: object) -> None:
        if not isinstance(each, tuple) or len(each) != 2 or not isinstance(each[0], Job):  # noqa: PLR2004 - a pair
            raise ResultMismatch(f"a generator yields (job, result), not {type(each).__name__}")
        entry = self._open.pop(token_of(each[0]), None)
        if entry is None:
            raise ResultMismatch(f"job {each[0].id} is not in this batch, or was yielded before")
        self._pump.put([outcome_of(entry, each[1], self._max_result_bytes)])
