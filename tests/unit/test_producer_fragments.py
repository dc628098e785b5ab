"""Messages are read whole or refused whole."""

from __future__ import annotations

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch.common.errors import ProtocolError
from microbatch.producer.fragments import parse_fragments


def packed(*values: object) -> bytes:
    return b"".join(msgpack.packb(value) for value in values)


def test_a_message_carries_any_number_of_fragments() -> None:
    fragments = [["a", "succeeded", [1, {"x": b"\x00"}]], ["b", "failed", {"type": "E"}], ["c", "succeeded"]]

    assert parse_fragments(packed(*fragments)) == fragments


def test_an_empty_message_has_none() -> None:
    assert parse_fragments(b"") == []


def test_a_state_that_only_a_later_version_knows_sends_us_to_the_record() -> None:
    assert parse_fragments(packed(["a", "vanished", 1])) == [["a", "vanished"]]


@pytest.mark.parametrize(
    "message",
    [
        b"\xc1",
        b"hello",
        packed(["a", "succeeded", 1])[:-1],
        packed(["a", "succeeded", 1]) + b"\x93",
        packed(["a"]),
        packed([]),
        packed(["a", "succeeded", 1, 2]),
        packed([["a"], "succeeded", 1]),
        packed(["a", 7, 1]),
        packed({"a": 1}),
        packed(["a", "succeeded", msgpack.ExtType(5, b"x")]),
        packed(["a", "succeeded", {1: 2}]),
        b"\x91" * 100_000,
        b"\xdd\xff\xff\xff\xff",
    ],
)
def test_a_message_with_anything_else_in_it_is_refused(message: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_fragments(message)


@given(st.binary(max_size=200))
def test_hostile_bytes_are_a_protocol_error_or_fragments(message: bytes) -> None:
    try:
        fragments = parse_fragments(message)
    except ProtocolError:
        return

    assert all(isinstance(fragment[0], str) and len(fragment) in (2, 3) for fragment in fragments)
