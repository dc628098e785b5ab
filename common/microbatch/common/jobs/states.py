"""The states of a job, and the one table of its transitions.

Rule: everything that affects which state may follow which lives in `TRANSITIONS`; the scripts implement
it and a test walks the table against a real server. `running` is never stored: it is derived from the
queue (an entry that a worker holds), so that no crash can leave a lie behind.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["FINAL_STATES", "TRANSITIONS", "JobEvent", "JobState"]


class JobState(StrEnum):
    """Where a job is."""

    SCHEDULED = "scheduled"
    """Waits for its time."""
    QUEUED = "queued"
    """Waits for a worker."""
    RUNNING = "running"
    """A worker holds it."""
    SUCCEEDED = "succeeded"
    """Has its result."""
    FAILED = "failed"
    """Has an error instead of a result."""
    CANCELLED = "cancelled"
    """Was cancelled before it had a result."""
    EXPIRED = "expired"
    """Was not started by its deadline."""

    @property
    def is_final(self) -> bool:
        """Whether nothing follows but the record's end."""
        return self in FINAL_STATES


FINAL_STATES = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.EXPIRED})


class JobEvent(StrEnum):
    """What happens to a job."""

    PROMOTED = "promoted"
    """Its time has come."""
    CLAIMED = "claimed"
    HANDED_BACK = "handed back"
    TAKEN_OVER = "taken over"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    RETRIED = "retried"
    """Its run failed, and another one follows."""
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    """Its deadline passed before it was started."""
    LOST = "lost"
    """What carries it is gone although it has no result: an operator, or a server that lost data."""
    REDRIVEN = "redriven"
    """An operator opened its next run: the one way out of a final state."""


TRANSITIONS: Mapping[tuple[JobState, JobEvent], JobState] = {
    (JobState.SCHEDULED, JobEvent.PROMOTED): JobState.QUEUED,
    (JobState.SCHEDULED, JobEvent.CANCELLED): JobState.CANCELLED,
    (JobState.SCHEDULED, JobEvent.EXPIRED): JobState.EXPIRED,
    (JobState.SCHEDULED, JobEvent.LOST): JobState.FAILED,
    (JobState.QUEUED, JobEvent.CLAIMED): JobState.RUNNING,
    (JobState.QUEUED, JobEvent.CANCELLED): JobState.CANCELLED,
    (JobState.QUEUED, JobEvent.EXPIRED): JobState.EXPIRED,
    (JobState.QUEUED, JobEvent.LOST): JobState.FAILED,
    (JobState.RUNNING, JobEvent.HANDED_BACK): JobState.QUEUED,
    (JobState.RUNNING, JobEvent.TAKEN_OVER): JobState.QUEUED,
    (JobState.RUNNING, JobEvent.SUCCEEDED): JobState.SUCCEEDED,
    (JobState.RUNNING, JobEvent.FAILED): JobState.FAILED,
    (JobState.RUNNING, JobEvent.RETRIED): JobState.SCHEDULED,
    (JobState.RUNNING, JobEvent.CANCELLED): JobState.CANCELLED,
    (JobState.RUNNING, JobEvent.EXPIRED): JobState.EXPIRED,
    (JobState.RUNNING, JobEvent.LOST): JobState.FAILED,
    (JobState.FAILED, JobEvent.REDRIVEN): JobState.QUEUED,
}
