"""What happens to a job, as users see it: one update, and the batch, the progress and the lines in it.

Rule: values and nothing else; `happenings.py` reads them from what the scripts write. Times are aware UTC
datetimes by Redis's clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from microbatch.common.jobs.states import JobState

__all__ = ["BatchRecord", "BatchSummary", "ErrorFacts", "JobUpdate", "LogLine", "Progress"]


@dataclass(frozen=True, slots=True)
class ErrorFacts:
    """Why a job failed, as data.

    Attributes:
        type: The exception's class name, such as `ValueError` or `WorkerLost`.
        message: `str()` of the exception.
        traceback: The worker's formatted traceback; empty where there was none.
    """

    type: str
    message: str
    traceback: str


@dataclass(frozen=True, slots=True)
class BatchRecord:
    """The batch in which a job runs or ran last: why it was batched as it was.

    Attributes:
        batch_id: The batch's id.
        batch_size: How many jobs it had.
        reason: Why it left when it did: `size`, `wait`, `budget` or `recovery`; None where nobody knows, such
            as for a job whose worker died.
        queued_ms: How long this job had waited in the queue when it left, in milliseconds.
        waited_ms: How long the oldest job of the batch had waited: what `max_wait_ms` bounds while a slot is
            free. None while the batch runs.
        run_ms: From the batch's start to this job's outcome; None while it runs.
        worker: Who ran it.
    """

    batch_id: str
    batch_size: int
    reason: str | None
    queued_ms: int | None
    waited_ms: int | None
    run_ms: int | None
    worker: str


@dataclass(frozen=True, slots=True)
class BatchSummary:
    """A batch that was settled.

    Attributes:
        batch_id: Its id.
        batch_size: How many jobs it had.
        reason: Why it left when it did: `size`, `wait`, `budget` or `recovery`.
        worker: Who ran it.
        started_at: When it was claimed.
        finished_at: When the last of its jobs was settled.
        waited_ms: How long its oldest job had waited when it was claimed, in milliseconds.
        run_ms: How long it took from then on.
    """

    batch_id: str
    batch_size: int
    reason: str | None
    worker: str
    started_at: datetime
    finished_at: datetime
    waited_ms: int
    run_ms: int


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is, as its processor said last.

    Attributes:
        fraction: From 0 to 1.
        text: What it said besides.
        at: When, by Redis's clock.
        attempt: In which run.
    """

    fraction: float
    text: str
    at: datetime
    attempt: int


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line of a job's log.

    Attributes:
        at: When it was written, by Redis's clock.
        attempt: In which run of the job.
        level: `debug`, `info`, `warning` or `error`.
        text: What it says.
        number: Which line of the job's log it is, from 1. Where the first one that is kept has a higher
            number, older ones had to make room. In an update of `client.events` 0: nobody counts there.
    """

    at: datetime
    attempt: int
    level: str
    text: str
    number: int = 0


@dataclass(frozen=True, slots=True)
class JobUpdate:
    """One thing that happened to a job.

    Attributes:
        id: The full id of the job.
        event: `submitted`, `scheduled`, `promoted` (its time came), `claimed`, `handed back`, `taken over`,
            `retried`, `redriven`, a final state, `lost`, `progress` or `log`.
        state: In which state it is after that.
        at: When, by Redis's clock; None where nobody knows.
        attempt: Which run that was about, from 1; 0 before the first.
        worker: Whose; None where none was part in it.
        batch_id: In which batch.
        batch_size: How many jobs that had.
        reason: Why that left when it did.
        error: Why a run failed (`failed`, `retried`); a long message may be missing here.
        progress: With `progress`.
        line: With `log`.
    """

    id: str
    event: str
    state: JobState
    at: datetime | None
    attempt: int = 0
    worker: str | None = None
    batch_id: str | None = None
    batch_size: int | None = None
    reason: str | None = None
    error: ErrorFacts | None = None
    progress: Progress | None = None
    line: LogLine | None = None
