"""What is known about one job, as users see it: the record and its carrier, read into values.

Rule: parsing is pure and total; a field that is missing or that no version of microbatch wrote is a
`ProtocolError`, never a guess. `running` is derived here, from a queued record whose entry a worker holds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from microbatch.common.codec import decode
from microbatch.common.errors import ProtocolError
from microbatch.common.jobs.happenings import (
    BatchWords,
    batch_of,
    moment,
    parse_error,
    parse_happening,
    parse_progress,
)
from microbatch.common.jobs.states import JobState
from microbatch.common.jobs.timeline import Story
from microbatch.common.netstrings import read_netstrings

if TYPE_CHECKING:
    from datetime import datetime

    from microbatch.common.jobs.update import BatchRecord, ErrorFacts, JobUpdate, Progress
    from microbatch.common.scripts import JobView

__all__ = ["JobStatus", "PastRun", "parse_status"]

_PAST = re.compile(rb"past_([1-9][0-9]{0,8})")
_REASONS = frozenset({"size", "wait", "recovery", "budget"})
_PAST_FIELDS = (b"state", b"finished_ms", b"attempts", b"error")


@dataclass(frozen=True, slots=True)
class PastRun:
    """How an earlier run of a job ended, before an operator opened the next one.

    Attributes:
        run: Which run it was, from 1.
        state: Its final state.
        finished_at: When it reached that.
        attempts: How many attempts it had.
        error: Why it failed; None in every other state.
    """

    run: int
    state: JobState
    finished_at: datetime | None
    attempts: int
    error: ErrorFacts | None


@dataclass(frozen=True, slots=True)
class JobStatus:
    """One look at a job. Times are aware UTC datetimes by Redis's clock; what is not known is None.

    Attributes:
        id: The full id, `queue/local`.
        state: Where the job is.
        attempt: Which run this is or was, from 1; 0 before the first.
        enqueued_at: When it was first accepted.
        started_at: When its present or last run began.
        finished_at: When it reached its final state.
        worker: The worker that runs it or ran it last.
        batch_id: The batch in which it runs or ran.
        batch_size: How many jobs that batch had.
        error: Why it failed; None in every other state.
        last_error: Why its last attempt failed that was followed by another one; None where there was none.
        due_at: When a scheduled job may run; None in every other state.
        run: Which run this is: 1, and one more each time that an operator gave the failed job another.
        history: How the runs before it ended, the first one first.
        batch: Why it is, or was last, batched as it was; None before the first batch.
        progress: How far its processor said it is; None where it said nothing.
        timeline: Every change of its state in this run that is known, the first one first. Of retries and
            moves the last two dozen are kept.
        log_lines: How many lines its processor has written into its log.
    """

    id: str
    state: JobState
    attempt: int
    enqueued_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    worker: str | None
    batch_id: str | None
    batch_size: int | None
    error: ErrorFacts | None
    last_error: ErrorFacts | None = None
    due_at: datetime | None = None
    run: int = 1
    history: tuple[PastRun, ...] = ()
    batch: BatchRecord | None = None
    progress: Progress | None = None
    timeline: tuple[JobUpdate, ...] = ()
    log_lines: int = 0


def parse_status(job_id: str, view: JobView) -> JobStatus:
    """Read what the `job_status` script answered.

    Raises:
        ProtocolError: The record holds something that no version of microbatch wrote.
    """
    record = view.record
    try:
        state = JobState(record.get(b"state", b"").decode())
    except ValueError:  # UnicodeDecodeError is one
        raise ProtocolError(f"job {job_id} has a record without a valid state") from None
    error = record.get(b"error") if state is JobState.FAILED else None
    last_error = record.get(b"last_error")
    shown = JobState.RUNNING if state is JobState.QUEUED and view.worker else state
    batch = _batch(view)
    facts = None if error is None else parse_error(decode(error))
    story = Story(
        job_id,
        shown,
        view.attempt,
        _number(record, b"enqueued_ms"),
        _number(record, b"finished_ms"),
        [
            event
            for event in map(parse_happening, read_netstrings(record.get(b"history", b"")))
            if event.is_known
        ],
        batch,
        _number(record, b"due_ms") is not None,
        facts,
    )
    steps = story.steps()
    progress = record.get(b"progress")
    return JobStatus(
        id=job_id,
        state=shown,
        attempt=view.attempt,
        enqueued_at=_moment(story.enqueued_ms),
        started_at=_moment(batch.started_ms or None) if batch else None,
        finished_at=_moment(story.finished_ms),
        worker=batch.worker if batch else view.worker or None,
        batch_id=batch.batch_id if batch else None,
        batch_size=batch.size if batch else None,
        error=facts,
        last_error=None if last_error is None else parse_error(decode(last_error)),
        due_at=_moment(_number(record, b"due_ms")) if state is JobState.SCHEDULED else None,
        run=_number(record, b"run") or 1,
        history=_history(record),
        batch=story.record(steps),
        progress=None if progress is None else parse_progress(progress),
        timeline=steps,
        log_lines=_lines(record),
    )


def _batch(view: JobView) -> BatchWords | None:
    """The batch that holds the job now, else the one in which it ran last."""
    if view.worker:
        if not view.batch:
            return None
        reason = view.reason if view.reason in _REASONS else None
        return BatchWords(view.batch, view.batch_size, reason, view.claimed_ms, view.worker)
    return batch_of(view.record)


def _lines(record: dict[bytes, bytes]) -> int:
    total = record.get(b"log_facts", b"0").partition(b" ")[0]
    return int(total) if total.isdigit() else 0


def _history(record: dict[bytes, bytes]) -> tuple[PastRun, ...]:
    runs = sorted(int(match[1]) for match in map(_PAST.fullmatch, record) if match)
    return tuple(_past_run(run, record[b"past_%d" % run]) for run in runs)


def _past_run(run: int, packed: bytes) -> PastRun:
    fields = dict(zip(_PAST_FIELDS, read_netstrings(packed), strict=False))
    try:
        state = JobState(fields.get(b"state", b"").decode())
    except ValueError:
        raise ProtocolError(f"run {run} of a job has no valid state") from None
    error = fields.get(b"error") if state is JobState.FAILED else None
    return PastRun(
        run,
        state,
        _moment(_number(fields, b"finished_ms")),
        _number(fields, b"attempts") or 0,
        parse_error(decode(error)) if error else None,
    )


def _number(record: dict[bytes, bytes], field: bytes) -> int | None:
    raw = record.get(field)
    if raw is None:
        return None
    if not raw.isdigit() or len(raw) > len("253402300799999"):
        raise ProtocolError(f"the record's field {field.decode()} is not a number")
    return int(raw)


def _moment(time_ms: int | None) -> datetime | None:
    return None if time_ms is None else moment(time_ms)
