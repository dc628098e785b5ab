"""What the status script answers becomes a `JobStatus`, or a typed error."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from microbatch.common.codec import encode_error
from microbatch.common.errors import ProtocolError
from microbatch.common.jobs.states import JobState
from microbatch.common.jobs.status import PastRun, parse_status
from microbatch.common.jobs.update import ErrorFacts
from microbatch.common.scripts import JobView

MOMENT = datetime(2026, 1, 2, 3, 4, 5, 678000, UTC)
MS = b"1767323045678"


def view(record: dict[bytes, bytes], worker: str = "", attempt: int = 0) -> JobView:
    held = worker != ""
    return JobView(record, worker, "b1" if held else "", 7 if held else 0, int(MS) if held else 0, attempt)


def test_a_queued_job_has_no_worker_and_no_times_but_one() -> None:
    status = parse_status("q/a", view({b"state": b"queued", b"enqueued_ms": MS}))

    assert (status.id, status.state, status.attempt) == ("q/a", JobState.QUEUED, 0)
    assert status.enqueued_at == MOMENT
    assert [status.started_at, status.finished_at, status.worker, status.batch_id] == [None] * 4
    assert [status.batch_size, status.error] == [None, None]


def test_a_queued_job_whose_entry_a_worker_holds_is_running() -> None:
    status = parse_status("q/a", view({b"state": b"queued", b"enqueued_ms": MS}, "host:1:ab", 2))

    assert (status.state, status.attempt, status.worker) == (JobState.RUNNING, 2, "host:1:ab")
    assert (status.batch_id, status.batch_size, status.started_at) == ("b1", 7, MOMENT)


def test_a_failed_job_tells_why() -> None:
    record = {
        b"state": b"failed",
        b"error": encode_error("ValueError", "bad", "Traceback"),
        b"finished_ms": MS,
        b"batch": b"b 3 wait %b w" % MS,
    }
    status = parse_status("q/a", view(record, attempt=1))

    assert status.error == ErrorFacts("ValueError", "bad", "Traceback")
    assert (status.finished_at, status.worker, status.batch_id, status.batch_size) == (MOMENT, "w", "b", 3)
    assert status.started_at == MOMENT


def test_a_job_that_no_processor_answered_for_has_a_batch_but_no_start() -> None:
    status = parse_status("q/a", view({b"state": b"failed", b"batch": b"b 1 - 0 w"}, attempt=1))

    assert (status.worker, status.batch_id, status.batch_size, status.started_at) == ("w", "b", 1, None)


@pytest.mark.parametrize(
    "record",
    [
        {},
        {b"state": b"bogus"},
        {b"state": b"failed", b"batch": b"b"},
        {b"state": b"failed", b"batch": b"b many wait 1 w"},
        {b"state": b"\xff"},
        {b"state": b"queued", b"enqueued_ms": b"soon"},
        {b"state": b"queued", b"enqueued_ms": b"9" * 30},
        {b"state": b"queued", b"enqueued_ms": b"999999999999999"},
        {b"state": b"failed", b"error": b"\xc1"},
        {b"state": b"failed", b"error": b"\x01"},
    ],
)
def test_a_record_that_nobody_of_us_wrote_is_a_protocol_error(record: dict[bytes, bytes]) -> None:
    with pytest.raises(ProtocolError):
        parse_status("q/a", view(record))


def packed(*parts: bytes) -> bytes:
    return b"".join(b"%d:%b" % (len(part), part) for part in parts)


def test_a_plain_job_is_in_its_first_run_and_has_no_history() -> None:
    status = parse_status("q/a", view({b"state": b"queued"}))

    assert (status.run, status.history, status.due_at, status.last_error) == (1, (), None, None)


def test_a_retried_job_tells_when_it_is_due_and_why_it_waits() -> None:
    record = {b"state": b"scheduled", b"due_ms": MS, b"last_error": encode_error("ValueError", "bad")}
    status = parse_status("q/a", view(record, attempt=1))

    assert (status.state, status.due_at, status.attempt) == (JobState.SCHEDULED, MOMENT, 1)
    assert status.last_error == ErrorFacts("ValueError", "bad", "")
    assert status.error is None


def test_earlier_runs_are_told_in_their_order() -> None:
    error = encode_error("ValueError", "a:b")
    record = {b"state": b"queued", b"run": b"12"}
    record |= {b"past_%d" % run: packed(b"failed", MS, b"%d" % run, error) for run in range(11, 0, -1)}
    status = parse_status("q/a", view(record))

    assert status.run == 12
    assert [past.run for past in status.history] == list(range(1, 12))
    assert status.history[1] == PastRun(2, JobState.FAILED, MOMENT, 2, ErrorFacts("ValueError", "a:b", ""))


@pytest.mark.parametrize(
    "past",
    [
        b"",
        b"x",
        b"6:faile",
        b"6:failed",
        b"99999999999:x",
        packed(b"bogus"),
        packed(b"failed", b"x", b"1", b""),
        packed(b"failed", MS, b"1", b"\xc1"),
        packed(b"failed", MS, b"1", b"\xc0"),
        b":",
        b"-1:x",
    ],
)
def test_a_damaged_history_is_told_as_such_or_as_little_as_it_says(past: bytes) -> None:
    record = {b"state": b"queued", b"past_1": past, b"past_x": b"", b"past_01": b""}
    if past == b"6:failed":
        assert parse_status("q/a", view(record)).history == (PastRun(1, JobState.FAILED, None, 0, None),)
    else:
        with pytest.raises(ProtocolError):
            parse_status("q/a", view(record))
