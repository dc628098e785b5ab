"""What is known about one job, as users see it: the record and its carrier, read into values.

Rule: parsing is pure and total; a field that is missing or that no version of microbatch wrote is a
`ProtocolError`, never a guess. `running` is derived here, from a queued record whose entry a worker holds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from microbatch.common.codec import decode
from microbatch.common.errors import ProtocolError
from microbatch.common.netstrings import read_netstrings
from microbatch.common.states import JobState

if TYPE_CHECKING:
    from microbatch.common.scripts import JobView

__all__ = ["ErrorFacts", "JobStatus", "PastRun", "parse_error", "parse_status"]

_PAST = re.compile(rb"past_([1-9][0-9]{0,8})")
_BATCH = re.compile(r"(\S+) ([0-9]{1,9}) (\S+) ([0-9]{1,15}) (\S+)")
_PAST_FIELDS = (b"state", b"finished_ms", b"attempts", b"error")


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


def parse_error(value: Any) -> ErrorFacts:
    """Read a decoded error.

    Raises:
        ProtocolError: It is not what `codec.encode_error` writes.
    """
    fields = value if isinstance(value, dict) else {}
    kind, message, traceback = (fields.get(name) for name in ("type", "message", "traceback"))
    if isinstance(kind, str) and isinstance(message, str) and isinstance(traceback, str):
        return ErrorFacts(kind, message, traceback)
    raise ProtocolError("a failed job's error is not a map with type, message and traceback")


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
    held = state is JobState.QUEUED and view.worker != ""
    ran = _Run(view.batch or None, view.batch_size or None, view.claimed_ms or None, view.worker)
    if not held:
        ran = _last_run(record)
    return JobStatus(
        id=job_id,
        state=JobState.RUNNING if held else state,
        attempt=view.attempt,
        enqueued_at=_moment(_number(record, b"enqueued_ms")),
        started_at=_moment(ran.started_ms),
        finished_at=_moment(_number(record, b"finished_ms")),
        worker=ran.worker,
        batch_id=ran.batch_id,
        batch_size=ran.batch_size,
        error=None if error is None else parse_error(decode(error)),
        last_error=None if last_error is None else parse_error(decode(last_error)),
        due_at=_moment(_number(record, b"due_ms")) if state is JobState.SCHEDULED else None,
        run=_number(record, b"run") or 1,
        history=_history(record),
    )


class _Run(NamedTuple):
    batch_id: str | None
    batch_size: int | None
    started_ms: int | None
    worker: str | None


def _last_run(record: dict[bytes, bytes]) -> _Run:
    packed = record.get(b"batch")
    if packed is None:
        return _Run(None, None, None, None)
    match = _BATCH.fullmatch(packed.decode("utf-8", "replace"))
    if match is None:
        raise ProtocolError("the record's field batch is not an id, a size, a reason, a time and a worker")
    return _Run(match[1], int(match[2]), int(match[4]) or None, match[5])


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
    if time_ms is None:
        return None
    try:
        return datetime.fromtimestamp(time_ms / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        raise ProtocolError(f"{time_ms} ms is no moment in time") from None
