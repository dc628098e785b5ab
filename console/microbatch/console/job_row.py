"""One line of a list of jobs: what is known about a job without asking for all of it.

Rule: reading a line never raises, whatever its bytes are: entries and records may be anybody's. What is no
job becomes a `fault`. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from microbatch.common.codec import decode
from microbatch.common.errors import ProtocolError
from microbatch.common.identifiers import is_name, job_id
from microbatch.common.jobs.entry import lane_words
from microbatch.common.jobs.happenings import parse_batch, parse_error_head
from microbatch.common.jobs.states import JobState
from microbatch.common.stored_numbers import moment_of, number_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from microbatch.common.jobs.dead_letter import DeadLetter
    from microbatch.common.jobs.update import ErrorFacts
    from microbatch.common.scripts import BriefRecord, JobSight

__all__ = ["JobRow", "row_of_entry", "row_of_letter", "row_of_record", "row_of_scheduled"]

_FAULTS = {
    "garbage": "what is stored here is no job; it goes to the dead letters when its time comes",
    "foreign": "its key holds something else than a job's record",
    "unknown": "it has no record",
}


@dataclass(frozen=True, slots=True)
class JobRow:
    """One job of a list. Times are aware UTC datetimes by Redis's clock; what is not known is None.

    Attributes:
        id: The full id, `queue/local`; None where no valid one is named.
        state: Where it is.
        attempt: How many runs began.
        enqueued_at: When it was first accepted.
        due_at: When it is due, while it is scheduled.
        started_at: Since when it runs.
        finished_at: When it ended.
        worker: Who runs it, or ran it last.
        batch_id: In which batch.
        batch_size: How many jobs that has, or had.
        priority: Higher goes first; of finished jobs nobody knows, so it is None.
        batch_key: With which jobs it rides; None where it has none, or nobody knows.
        kind: For which processor of its queue; likewise.
        payload_bytes: How large its encoded payload is; None where that is not kept.
        lane: The stream in which it waits or runs.
        error: Why it failed, or why its last run did.
        letter_id: Its dead letter, in a list of these.
        run: Which run it is: one more for each time that an operator gave it another.
        fault: Why it is no job; empty where it is one.
    """

    id: str | None
    state: JobState
    attempt: int = 0
    enqueued_at: datetime | None = None
    due_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    worker: str | None = None
    batch_id: str | None = None
    batch_size: int | None = None
    priority: int | None = None
    batch_key: str | None = None
    kind: str | None = None
    payload_bytes: int | None = None
    lane: str | None = None
    error: ErrorFacts | None = None
    letter_id: str | None = None
    run: int = 1
    fault: str = ""


def row_of_entry(queue: str, sight: JobSight) -> JobRow:
    """A job that waits or runs."""
    lane, _, entry_id = sight.token.rpartition(":")
    priority, batch_key = lane_words(sight.fields)
    began = number_of(sight.fields.get(b"attempt", b"")) or 0
    enqueued_ms = number_of(sight.fields.get(b"enqueued_ms", b""))
    if enqueued_ms is None:
        enqueued_ms = number_of(entry_id.partition("-")[0].encode())
    fault = sight.fault
    if not fault and not is_name(_text(sight.fields.get(b"id", b""))):
        fault = "garbage"
    return JobRow(
        _id(queue, sight.fields.get(b"id", b"")),
        JobState.RUNNING if sight.worker else JobState.QUEUED,
        began + 1 if sight.worker else began,
        moment_of(enqueued_ms),
        started_at=moment_of(sight.claimed_ms or None),
        worker=sight.worker or None,
        batch_id=sight.batch or None,
        batch_size=sight.batch_size or None,
        priority=priority,
        batch_key=batch_key or None,
        kind=_kind(sight.fields),
        payload_bytes=sight.payload_bytes,
        lane=lane,
        fault=_FAULTS.get(fault, fault),
    )


def row_of_scheduled(queue: str, sight: JobSight) -> JobRow:
    """A job that waits for its time."""
    priority, batch_key = lane_words(sight.fields)
    return JobRow(
        _id(queue, sight.member),
        JobState.SCHEDULED,
        number_of(sight.fields.get(b"attempt", b"")) or 0,
        moment_of(number_of(sight.fields.get(b"enqueued_ms", b""))),
        due_at=moment_of(number_of(sight.score.partition(".")[0].encode())),
        priority=priority,
        batch_key=batch_key or None,
        kind=_kind(sight.fields),
        payload_bytes=sight.payload_bytes,
        error=parse_error_head(sight.last_error) if sight.last_error else None,
        fault=_FAULTS.get(sight.fault, sight.fault),
    )


def row_of_letter(letter: DeadLetter) -> JobRow:
    """A job that failed for good, by its dead letter."""
    kind = letter.headers.get("kind")
    return JobRow(
        letter.job_id,
        JobState.FAILED,
        letter.attempts,
        letter.enqueued_at,
        finished_at=letter.died_at,
        worker=letter.worker or None,
        batch_id=letter.batch_id or None,
        priority=letter.priority,
        batch_key=letter.batch_key or None,
        kind=kind if isinstance(kind, str) else None,
        payload_bytes=letter.payload_bytes,
        error=letter.error,
        letter_id=letter.letter_id,
        run=letter.run,
        fault="" if letter.job_id else _FAULTS["garbage"].partition(";")[0],
    )


def row_of_record(queue: str, record: BriefRecord) -> JobRow | None:
    """A job by its record; None where that says no state, so that it is none."""
    try:
        state = JobState(record.state.decode())
    except ValueError:  # UnicodeDecodeError is one
        return None
    try:
        batch = parse_batch(record.batch.decode("utf-8", "replace")) if record.batch else None
    except ProtocolError:
        batch = None
    return JobRow(
        _id(queue, record.local),
        state,
        number_of(record.attempt) or 0,
        moment_of(number_of(record.enqueued_ms)),
        finished_at=moment_of(number_of(record.finished_ms)),
        started_at=moment_of(batch.started_ms or None) if batch else None,
        worker=batch.worker if batch else None,
        batch_id=batch.batch_id if batch else None,
        batch_size=batch.size if batch else None,
        error=parse_error_head(record.error) if record.error and state is JobState.FAILED else None,
        run=number_of(record.run) or 1,
    )


def _id(queue: str, local: bytes) -> str | None:
    name = _text(local)
    return job_id(queue, name) if is_name(name) else None


def _text(raw: bytes) -> str:
    return raw.decode("ascii", "replace")


def _kind(fields: Mapping[bytes, bytes]) -> str | None:
    try:
        headers = decode(fields[b"headers"]) if fields.get(b"headers") else {}
    except ProtocolError:  # sealed, or somebody else's
        return None
    kind = headers.get("kind") if isinstance(headers, dict) else None
    return kind if isinstance(kind, str) else None
