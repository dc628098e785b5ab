"""The story of a job from its record, and the reading of what scripts wrote: total, with typed errors."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch.common.codec import encode_error
from microbatch.common.errors import ProtocolError
from microbatch.common.jobs.happenings import (
    batch_of,
    parse_batch,
    parse_happening,
    parse_lines,
    parse_progress,
)
from microbatch.common.jobs.states import JobState
from microbatch.common.jobs.status import JobStatus, parse_status
from microbatch.common.scripts import JobView
from microbatch.producer.watching import parse_message

MS = 1_767_323_045_000


def status(worker: str = "", attempt: int = 1, **fields: bytes) -> JobStatus:
    record = {name.encode(): value for name, value in fields.items()}
    record.setdefault(b"enqueued_ms", b"%d" % MS)
    held = ("b9", 3, MS + 900) if worker else ("", 0, 0)
    return parse_status("q/a", JobView(record, worker, *held, attempt, "wait" if worker else ""))


def netstrings(*events: str) -> bytes:
    return b"".join(b"%d:%b" % (len(event.encode()), event.encode()) for event in events)


def steps(of: JobStatus) -> list[tuple[str, JobState, int]]:
    return [(step.event, step.state, step.attempt) for step in of.timeline]


def test_the_record_alone_tells_the_story_of_a_plain_job() -> None:
    done = status(
        state=b"succeeded",
        finished_ms=b"%d" % (MS + 30),
        batch=b"b1 4 size %d w1 7" % (MS + 10),
        result=b"\xc0",
    )

    assert steps(done) == [
        ("submitted", JobState.QUEUED, 0),
        ("claimed", JobState.RUNNING, 1),
        ("succeeded", JobState.SUCCEEDED, 1),
    ]
    assert done.batch is not None
    assert (done.batch.queued_ms, done.batch.waited_ms, done.batch.run_ms) == (10, 7, 20)


def test_a_running_job_has_a_batch_without_an_end() -> None:
    running = status("w1", 2, state=b"queued")

    assert running.batch is not None
    assert (running.batch.batch_id, running.batch.queued_ms, running.batch.run_ms) == ("b9", 900, None)
    assert running.batch.waited_ms is None


def test_the_batch_of_a_retried_job_ended_with_its_retry() -> None:
    batch = f"b1 2 wait {MS + 10} w1 5"
    waits = status(
        state=b"scheduled",
        due_ms=b"%d" % (MS + 99),
        batch=batch.encode(),
        history=netstrings(f"retried {MS + 50} 1 {batch}\n"),
    )

    assert [step.event for step in waits.timeline] == ["submitted", "claimed", "retried"]
    assert waits.batch is not None
    assert waits.batch.run_ms == 40


def test_a_lost_job_is_called_lost() -> None:
    lost = status(state=b"failed", error=encode_error("JobLost", "gone"), finished_ms=b"%d" % MS, attempt=0)

    assert lost.timeline[-1].event == "lost"
    assert lost.timeline[-1].state is JobState.FAILED


def test_an_event_of_a_later_version_is_passed_over() -> None:
    known = status(state=b"queued", history=netstrings(f"teleported {MS} 1", f"promoted {MS} 0"))

    assert [step.event for step in known.timeline] == ["scheduled", "promoted"]


@pytest.mark.parametrize("cut", [3, 20, 200, 1_024])
def test_the_beginning_of_an_error_is_read_as_far_as_it_goes(cut: int) -> None:
    error = encode_error("ValueError", "m" * 100, "t" * 5_000)
    event = parse_happening(f"failed {MS} 1\n".encode() + error[:cut])

    found = event.update("q/a").error
    assert found is not None
    assert found.type in {"ValueError", ""}
    assert found.message in {"m" * 100, ""}
    assert (found.message != "") == (cut >= 200)


@given(st.binary(max_size=60))
def test_whatever_bytes_there_are_reading_gives_a_value_or_a_typed_error(data: bytes) -> None:
    for read in (parse_happening, parse_progress, lambda raw: parse_lines([raw], 1)):
        try:
            read(data)
        except ProtocolError:
            continue
    try:
        parse_batch(data.decode("utf-8", "replace"))
        status(state=b"queued", history=data)
        status(state=b"queued", progress=data)
    except ProtocolError:
        pass
    parse_message("q", data)


def test_the_words_of_a_batch_stand_in_one_field_or_in_two() -> None:
    whole = {b"batch": b"b1 4 size 10 w1 7"}
    assert batch_of({b"batch": b"b1 4 size", b"ran": b"10 w1 7"}) == batch_of(whole)
    assert batch_of({**whole, b"ran": b"9 w0 3"}) == batch_of(whole), "of an earlier run"
    assert batch_of({b"ran": b"10 w1 7"}) is None
    with pytest.raises(ProtocolError):
        batch_of({b"batch": b"b1 4 size"})
