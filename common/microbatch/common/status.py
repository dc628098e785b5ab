"""What is known about one job, as users see it: the record and its carrier, read into values.

Rule: parsing is pure and total; a field that is missing or that no version of microbatch wrote is a
`ProtocolError`, never a guess. `running` is derived here, from a queued record whose entry a worker holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from microbatch.common.codec import decode
from microbatch.common.errors import ProtocolError
from microbatch.common.states import JobState

if TYPE_CHECKING:
    from microbatch.common.scripts import JobView

__all__ = ["ErrorFacts", "JobStatus", "parse_error", "parse_status"]


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
    held = state is JobState.QUEUED and view.worker != ""
    return JobStatus(
        id=job_id,
        state=JobState.RUNNING if held else state,
        attempt=view.attempt,
        enqueued_at=_moment(_number(record, b"enqueued_ms")),
        started_at=_moment(view.claimed_ms or None if held else _number(record, b"started_ms")),
        finished_at=_moment(_number(record, b"finished_ms")),
        worker=view.worker if held else _text(record, b"worker"),
        batch_id=(view.batch or None) if held else _text(record, b"batch"),
        batch_size=(view.batch_size or None) if held else _number(record, b"batch_size"),
        error=None if error is None else parse_error(decode(error)),
    )


def _text(record: dict[bytes, bytes], field: bytes) -> str | None:
    return record.get(field, b"").decode("utf-8", "replace") or None


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
