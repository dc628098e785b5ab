"""Which jobs an operator means: a filter over lines of a list.

Rule: pure. A filter that asks for what cannot be known where it looks is refused, so that an empty list
always means that there are no such jobs.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Final

from microbatch.common.identifiers import is_name
from microbatch.common.jobs.states import FINAL_STATES, JobState

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from microbatch.console.job_row import JobRow

__all__ = ["DEAD", "LIVE_STATES", "STATES", "JobFilter"]

DEAD: Final = "dead"
"""Failed for good, by its dead letter."""

LIVE_STATES: Final = frozenset({JobState.QUEUED, JobState.RUNNING, JobState.SCHEDULED})
STATES: Final = (*(str(state) for state in JobState), DEAD)
"""What `JobFilter.states` may have."""

_OF_ENTRIES: Final = ("batch_key", "priority", "kind")


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs are meant; every condition that is given has to hold.

    Attributes:
        states: Those of `JobState`, and `dead`: failed for good, by the dead letters. By default all jobs
            that are not finished.
        older_than_s: Accepted longer ago than that, in seconds.
        younger_than_s: Accepted since then.
        batch_key: With this batch key.
        worker: That this worker runs, or ran last.
        kind: For this processor of the queue.
        priority: Of this priority.
        error: Whose error is of this type, such as `TimeoutError`: failed jobs, and retries that wait.

    Raises:
        ValueError: No such state, or a condition of which the jobs in these states do not tell.
    """

    states: AbstractSet[str] = field(default_factory=lambda: LIVE_STATES)
    older_than_s: float | None = None
    younger_than_s: float | None = None
    batch_key: str | None = None
    worker: str | None = None
    kind: str | None = None
    priority: int | None = None
    error: str | None = None

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.states) - set(STATES)):
            raise ValueError(f"no state {unknown[0]!r}; there are {', '.join(STATES)}")
        if not self.states:
            raise ValueError("a filter needs a state")
        if self.batch_key is not None and not is_name(self.batch_key):
            raise ValueError(f"{self.batch_key!r} cannot be a batch key")
        for name in _OF_ENTRIES:
            if getattr(self, name) is not None and self.states & FINAL_STATES:
                what = name.replace("_", " ")
                raise ValueError(f"the record of a finished job does not say its {what}; --state dead does")

    @property
    def is_picky(self) -> bool:
        """Whether it asks for more than states."""
        return any(getattr(self, one.name) is not None for one in fields(self) if one.name != "states")

    def within(self, states: AbstractSet[str]) -> JobFilter:
        """The same, which has to stay within these states.

        Raises:
            ValueError: It names others.
        """
        if others := sorted(set(self.states) - set(states)):
            raise ValueError(f"not for jobs that are {others[0]}; only for {', '.join(sorted(states))}")
        return self

    def looks_at(self, *states: str) -> set[str]:
        """Those of `states` in which it can find a job."""
        wanted = {str(state) for state in self.states}
        if self.worker is not None:
            wanted -= {JobState.QUEUED, JobState.SCHEDULED}
        if self.error is not None:
            wanted &= {JobState.SCHEDULED, JobState.FAILED, DEAD}
        return wanted & set(states)

    def fits(self, row: JobRow, now_ms: int) -> bool:
        """Whether a job is meant.

        Args:
            row: The job.
            now_ms: Redis's time.
        """
        if (DEAD if row.letter_id is not None else str(row.state)) not in self.states:
            return False
        if not self._fits_age(row, now_ms):
            return False
        for name in (*_OF_ENTRIES, "worker"):
            wanted = getattr(self, name)
            if wanted is not None and getattr(row, name) != wanted:
                return False
        return self.error is None or (row.error is not None and row.error.type == self.error)

    def _fits_age(self, row: JobRow, now_ms: int) -> bool:
        if self.older_than_s is None and self.younger_than_s is None:
            return True
        if row.enqueued_at is None:
            return False
        age_s = now_ms / 1000 - row.enqueued_at.timestamp()
        if self.older_than_s is not None and age_s <= self.older_than_s:
            return False
        return self.younger_than_s is None or age_s < self.younger_than_s
