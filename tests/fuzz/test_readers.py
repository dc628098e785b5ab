"""Every reader of what is in Redis: whatever is there, out comes a value or one of our own errors."""

from __future__ import annotations

import contextlib
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from tests.fuzz.conftest import FUZZED
from tests.fuzz.hostile import VALUES, damaged, hashes, packed, texts

from microbatch.common.codec import decode, encode, encode_error
from microbatch.common.errors import PayloadError, ProtocolError
from microbatch.common.jobs.dead_letter import parse_letter
from microbatch.common.jobs.entry import parse_entry, parse_plain
from microbatch.common.jobs.happenings import (
    parse_batch,
    parse_error,
    parse_happening,
    parse_lines,
    parse_progress,
)
from microbatch.common.jobs.status import parse_status
from microbatch.common.netstrings import read_netstrings
from microbatch.common.schedules.schedule import Schedule, Timetable
from microbatch.common.schedules.status import parse_schedule
from microbatch.common.scripts import JobView, RawLetter, ScheduleView
from microbatch.producer.fragments import parse_fragments
from microbatch.worker.assembly import assemble

NOW_MS = 1_900_000_000_000
STATES = ["queued", "scheduled", "succeeded", "failed", "cancelled", "expired"]
ERROR = encode_error("ValueError", "wrong", "Traceback")
BATCH = b"0190b 3 size 1900000000000 host:1:ab 12"
EVENT = b"retried 1900000000000 1 " + BATCH + b"\n" + ERROR
FRAGMENT = packed(["a" * 32, "succeeded", {"x": [1, 2.5, "y"]}])
ENTRY = ["v", "id", "client", "payload", "headers", "ttl_ms", "max_attempts", "expires_ms", "enqueued_ms"]
ENTRY += ["attempt", "crashes", "failures", "priority", "batch_key"]
RECORD = [
    "state",
    "entry",
    "digest",
    "enqueued_ms",
    "expires_ms",
    "due_ms",
    "parked",
    "last_error",
    "attempt",
]
RECORD += ["batch", "history", "finished_ms", "result", "error", "run", "past_1", "progress", "v"]


@FUZZED
@given(damaged(FRAGMENT, encode({"k": [1, b"x", None]})))
def test_a_payload(data: bytes) -> None:
    with contextlib.suppress(ProtocolError, PayloadError):  # a key of bytes can be read, and not be sent
        encode(decode(data))


@FUZZED
@given(damaged(FRAGMENT, FRAGMENT * 3))
def test_a_message_of_results(data: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        for fragment in parse_fragments(data):
            assert isinstance(fragment[0], str)
            assert isinstance(fragment[1], str)


@FUZZED
@given(hashes(*ENTRY), st.binary(max_size=20), damaged(FRAGMENT))
def test_an_entry_becomes_a_job_or_is_set_aside(
    fields: dict[bytes, bytes], local: bytes, payload: bytes
) -> None:
    flat = [part for pair in fields.items() for part in pair]
    claimed = [
        parse_entry("main", b"5-0", flat),
        parse_entry("main", b"5-1", [*flat, b"id", b"x", b"payload", encode(1)]),
        parse_entry("solo", b"5-2", flat[:-1]),
        parse_entry("main", b"5-3", None),
        parse_plain("main", b"5-4", local, local, payload),
    ]

    found = assemble("q", claimed, NOW_MS)

    assert len(found.jobs) + len(found.faulty) + len(found.expired) + found.newer == len(claimed)
    for job in found.jobs:
        assert job.id.startswith("q/")
        assert job.kind is not None
        assert job.enqueued_at is not None
        assert job.priority is not None
        assert job.batch_key != ""


@FUZZED
@given(hashes(*ENTRY, "dead_token", "dead_error", "dead_attempt", "dead_run", "dead_worker"))
def test_a_dead_letter(fields: dict[bytes, bytes]) -> None:
    assert parse_letter("q", RawLetter("1900000000000-0", fields)).letter_id


@FUZZED
@given(hashes(*RECORD), st.sampled_from([*STATES, "?"]), st.booleans(), st.binary(max_size=40))
def test_a_record(fields: dict[bytes, bytes], state: str, is_held: bool, past: bytes) -> None:  # noqa: FBT001 - drawn
    record = {b"state": state.encode(), b"past_1": past} | fields
    held = ("host:1:ab", "0190b", 3, NOW_MS, 1, "size") if is_held else ("", "", 0, 0, 0, "")
    with contextlib.suppress(ProtocolError):
        assert parse_status("q/x", JobView(record, *held)).id == "q/x"


@FUZZED
@given(damaged(b"5:hello3:abc0:", b"0000000005:hello"))
def test_netstrings(data: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        assert sum(map(len, read_netstrings(data))) <= len(data)


@FUZZED
@given(damaged(EVENT, BATCH, b"1900000000000 1 0.5 half done"), VALUES)
def test_what_happened_to_a_job(data: bytes, value: Any) -> None:
    text = data.decode("utf-8", "replace")
    with contextlib.suppress(ProtocolError):
        parse_batch(text)
    with contextlib.suppress(ProtocolError):
        happening = parse_happening(data)
        if happening.is_known:
            happening.update("q/x")
    with contextlib.suppress(ProtocolError):
        parse_progress(data)
    with contextlib.suppress(ProtocolError):
        parse_lines([data], 1)
    with contextlib.suppress(ProtocolError):
        parse_error(value)


TIMETABLE = Schedule("s", queue="q", every_s=60).definition().timetable


@FUZZED
@given(
    st.one_of(
        damaged(TIMETABLE),
        st.fixed_dictionaries(
            {
                "v": st.sampled_from([1, 1, 1, 2]),
                "cron": st.one_of(st.none(), VALUES, texts("0 3 * * *", "*/5 8-18 * * MON-FRI")),
                "timezone": st.one_of(st.just("UTC"), texts("Europe/Berlin", "../../etc/passwd")),
                "every_ms": st.one_of(st.none(), VALUES, st.integers(-1, 10**12)),
                "missed": st.one_of(st.just("skip"), VALUES),
                "max_missed": st.one_of(st.just(1), VALUES),
                "expires_in_ms": VALUES,
            }
        ).map(packed),
    ),
    hashes("paused", "changed_ms", "payload", "last_ms", "source"),
)
@example(TIMETABLE, {b"paused": b"253402300800000"})
@example(TIMETABLE, {b"changed_ms": b"9" * 5_000})
@example(packed({"v": 1, "cron": [], "missed": "skip", "max_missed": 1}), {})
def test_a_schedule(timetable: bytes, fields: dict[bytes, bytes]) -> None:
    with contextlib.suppress(ProtocolError):
        Timetable.decoded(timetable)
    view = ScheduleView("s", NOW_MS, fields | {b"timetable": timetable}, [])
    assert parse_schedule("q", view, NOW_MS).name == "s"
