"""One claimed batch on its way: what is said about its jobs, which outcomes are written, who is told then.

Rule: notes are written before the outcomes of their jobs; hooks are called after, and only for what was
really written, so that no hook ever hears of a result that lost.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from microbatch.worker.hooks import BatchReport
from microbatch.worker.notes import Notes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from microbatch.common.scripts import BatchFacts, Outcome
    from microbatch.worker.batch import Batch
    from microbatch.worker.hooks import Hooks
    from microbatch.worker.scribe import Scribe
    from microbatch.worker.settler import Settler

__all__ = ["Flight"]


class Flight:
    """A batch between its claim and its last outcome. Make it on the loop.

    Args:
        settler: Writes outcomes.
        scribe: Writes notes.

    Attributes:
        notes: What is said about its jobs.
        batch: What the processor was shown; None where nothing was.
        facts: The batch's.
    """

    def __init__(self, settler: Settler, scribe: Scribe) -> None:
        self.notes = Notes(scribe.write)
        self._settler = settler
        self.batch: Batch[Any] | None = None
        self.facts: BatchFacts | None = None
        self._written: list[Outcome] = []
        self._began_s = time.monotonic()

    async def settle(self, facts: BatchFacts, outcomes: Sequence[Outcome], *, close: bool) -> None:
        """Write outcomes, and before them what was said about their jobs."""
        await self.notes.flush()
        self._written += await self._settler.settle(facts, outcomes, close=close)

    async def tell(self, hooks: Hooks) -> None:
        """Call the hooks for what was written."""
        batch, facts = self.batch, self.facts
        if not self._written or batch is None or facts is None:
            return
        counts = dict.fromkeys(("succeeded", "failed", "retry", "expired"), 0)
        for outcome in self._written:
            counts[outcome.state] += 1
        report = BatchReport(
            size=len(batch),
            succeeded=counts["succeeded"],
            failed=counts["failed"],
            retried=counts["retry"],
            expired=counts["expired"],
            waited_ms=facts.waited_ms,
            run_ms=round((time.monotonic() - self._began_s) * 1000),
        )
        await hooks.tell(batch, self._written, report)
