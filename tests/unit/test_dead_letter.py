"""A dead letter is read whatever its bytes are, and what cannot be read is told as a reason."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch.common.codec import encode, encode_error
from microbatch.common.jobs.dead_letter import DeadLetter, parse_letter
from microbatch.common.jobs.update import ErrorFacts
from microbatch.common.scripts import RawLetter
from microbatch.console.dead_report import as_json, as_table, as_text
from microbatch.console.json_values import json_text

LETTER_ID = "1767323045678-3"
MOMENT = datetime(2026, 1, 2, 3, 4, 5, 678000, UTC)
WHOLE = {
    b"dead_token": b"main:1-1",
    b"dead_ms": b"1767323045678",
    b"dead_worker": b"host:1:ab",
    b"dead_batch": b"b1",
    b"dead_attempt": b"3",
    b"dead_error": encode_error("ValueError", "no", "Traceback (most recent call last):\n  boom"),
    b"dead_digest": b"\xff" * 16,
    b"dead_run": b"2",
    b"v": b"1",
    b"id": b"order-17",
    b"client": b"c1",
    b"payload": encode({"n": 1}),
    b"headers": encode({"trace": "t"}),
    b"enqueued_ms": b"1767323045678",
}
NAMES = st.sampled_from(sorted(WHOLE)) | st.binary(max_size=12)


def letter(fields: dict[bytes, bytes], letter_id: str = LETTER_ID) -> DeadLetter:
    return parse_letter("q", RawLetter(letter_id, fields))


def test_a_whole_letter_says_all_that_is_known() -> None:
    found = letter(WHOLE)

    assert (found.letter_id, found.job_id, found.attempts, found.run) == (LETTER_ID, "q/order-17", 3, 2)
    assert (found.died_at, found.enqueued_at) == (MOMENT, MOMENT)
    assert (found.worker, found.batch_id) == ("host:1:ab", "b1")
    assert found.error == ErrorFacts("ValueError", "no", "Traceback (most recent call last):\n  boom")
    assert (found.payload, found.payload_fault, found.headers) == ({"n": 1}, "", {"trace": "t"})
    assert found.raw == {}


def test_a_payload_that_cannot_be_decoded_is_kept_raw_with_the_reason() -> None:
    found = letter(WHOLE | {b"payload": b"\xc1"})

    assert found.payload is None
    assert "not a msgpack value" in found.payload_fault
    assert found.raw == {"payload": b"\xc1"}


def test_a_foreign_entry_shows_its_own_fields() -> None:
    fields = {name: value for name, value in WHOLE.items() if name.startswith(b"dead_")}
    found = letter(fields | {b"hel\xfflo": b"\x00"})

    assert (found.job_id, found.payload_fault) == (None, "the entry has no payload")
    assert found.raw == {"hel\\xfflo": b"\x00"}


@pytest.mark.parametrize("local", [b"", b"a/b", b"\xff", b"x" * 129, b"a\n"])
def test_an_id_that_is_none_is_not_shown_as_one(local: bytes) -> None:
    assert letter(WHOLE | {b"id": local}).job_id is None


@pytest.mark.parametrize("error", [b"", b"\xc1", encode("text"), encode({"type": 1})])
def test_an_error_that_cannot_be_read_is_told_as_such(error: bytes) -> None:
    assert letter(WHOLE | {b"dead_error": error}).error.type == "ProtocolError"


def test_a_letter_id_beyond_the_calendar_has_no_time() -> None:
    assert letter(WHOLE, "99999999999999999-1").died_at is None


@given(st.dictionaries(NAMES, st.binary(max_size=24), max_size=12))
def test_no_bytes_break_the_reading_or_the_showing(fields: dict[bytes, bytes]) -> None:
    found = letter(fields)

    for text in (as_text(found), as_table([found])):
        assert all(line.isprintable() for line in text.splitlines())
    assert json_text(as_json(found, whole=True)).isprintable()
    assert json_text([as_json(found, whole=False)]).isprintable()


def test_controls_of_an_error_do_not_reach_the_terminal() -> None:
    evil = letter(WHOLE | {b"dead_error": encode_error("E\x1b[2J", "a\nb\x07", "line\x1b[31m\rx")})

    assert as_table([evil]).count("\n") == 1
    assert "\\x1b[2J" in as_table([evil])
    assert "\x1b" not in as_text(evil)
