"""Values that somebody else encoded: bombs are refused for what they are, and nothing large is built."""

from __future__ import annotations

import sys
import tracemalloc
from typing import Any

import msgpack
import pytest
from tests.chaos.kit import make_entry

from microbatch.common.codec import MAX_DEPTH, Limits, decode, encode
from microbatch.common.errors import PayloadError, ProtocolError
from microbatch.common.settings import WorkerSettings
from microbatch.producer.fragments import parse_fragments
from microbatch.worker.assembly import assemble

NOW_MS = 1_800_000_000_000
PADDING = b"\xc4\xff" + bytes(255)  # a value of 257 bytes, so that no bomb is too short to be looked at


def nested_list(levels: int, inside: bytes = b"\xc0") -> bytes:
    return b"\x91" * levels + inside


def nested_map(levels: int, inside: bytes = b"\xc0") -> bytes:
    return b"\x81\xa1k" * levels + inside


@pytest.mark.parametrize("nested", [nested_list, nested_map])
@pytest.mark.parametrize("inside", [b"\xc0", PADDING])
def test_a_value_may_have_a_hundred_levels_and_no_more(nested: Any, inside: bytes) -> None:
    decode(nested(MAX_DEPTH, inside))

    with pytest.raises(ProtocolError, match="deeper than 100"):
        decode(nested(MAX_DEPTH + 1, inside))


@pytest.mark.parametrize("empty", [b"\x90", b"\x80"])
def test_an_empty_list_or_dict_is_a_level_too(empty: bytes) -> None:
    decode(nested_list(MAX_DEPTH - 1, empty))

    with pytest.raises(ProtocolError, match="deeper than 100"):
        decode(nested_list(MAX_DEPTH, empty))


def test_what_can_be_sent_can_be_read_to_the_last_level() -> None:
    value: Any = []
    for _ in range(MAX_DEPTH - 1):
        value = [value]

    assert decode(encode(value)) == value
    with pytest.raises(PayloadError):
        encode([value])


@pytest.mark.parametrize("levels", [101, 500, 1_000, 5_000, 1_000_000])
def test_a_nested_bomb_is_refused_without_recursion(levels: int) -> None:
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(limit // 4)
    try:
        with pytest.raises(ProtocolError) as caught:
            decode(nested_list(levels))
    finally:
        sys.setrecursionlimit(limit)

    assert not isinstance(caught.value.__cause__, RecursionError)


@pytest.mark.parametrize("header", [b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xdc\xff\xff"])
def test_a_few_bytes_that_claim_millions_of_items_take_no_memory(header: bytes) -> None:
    tracemalloc.start()
    try:
        for data in (header, header * 200, header * 200 + PADDING):
            with pytest.raises(ProtocolError):
                decode(data)
            with pytest.raises(ProtocolError):
                parse_fragments(data)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("code", [-128, -2, 0, 1, 77, 127])
@pytest.mark.parametrize("wrap", [lambda ext: ext, lambda ext: [ext], lambda ext: {"k": [ext]}])
def test_extension_types_are_refused_wherever_they_are(code: int, wrap: Any) -> None:
    ext = msgpack.ExtType(code, b"1234") if code >= 0 else None
    data = msgpack.packb(wrap(ext)) if ext else b"\x91\xd6" + code.to_bytes(1, "big", signed=True) + b"1234"

    with pytest.raises(ProtocolError):
        decode(data)
    with pytest.raises(ProtocolError):
        parse_fragments(b"\x93\xa1x\xa9succeeded" + data)


@pytest.mark.parametrize("data", [b"\xd7\xff" + b"\xff" * 8, b"\xc7\x0c\xff" + b"\xff" * 12])
def test_a_moment_beyond_the_calendar_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode(data)


def test_limits_are_judged_in_bytes_levels_and_items() -> None:
    decode(encode([1] * 200), Limits(size_bytes=300, items=200))
    with pytest.raises(ProtocolError, match="203 bytes, where the limit is 100"):
        decode(encode([1] * 200), Limits(size_bytes=100))
    with pytest.raises(ProtocolError):
        decode(encode([1] * 200), Limits(items=199))
    with pytest.raises(ProtocolError):
        decode(encode({str(number): 1 for number in range(200)}), Limits(items=199))
    with pytest.raises(ProtocolError, match="deeper than 2 levels"):
        decode(encode([["x" * 200, [1]]]), Limits(depth=2))
    assert decode(encode([["x" * 200]]), Limits(depth=2)) == [["x" * 200]]
    with pytest.raises(ProtocolError, match="deeper than 1 levels"):
        decode(encode({"a": {"b": 1}}), Limits(depth=1))


def test_a_worker_sets_a_job_beyond_its_limits_aside_alone() -> None:
    settings = WorkerSettings(max_payload_bytes=50, max_payload_depth=3, max_payload_items=5)
    big, wide, deep = make_entry("big"), make_entry("wide"), make_entry("deep")
    big.payload, wide.payload, deep.payload = encode("x" * 50), encode([1] * 6), encode([[[[1]]]])
    headed = make_entry("headed", headers=encode({"h": "x" * 50}))

    found = assemble("q", [big, make_entry("a"), wide, deep, headed], NOW_MS, limits=settings.payload_limits)

    assert [job.id for job in found.jobs] == ["q/a"]
    assert {entry.local for entry, _ in found.faulty} == {"big", "wide", "deep", "headed"}
    assert {fault.error_type for _, fault in found.faulty} == {"PayloadError"}


def test_a_pushed_result_may_have_a_hundred_levels_and_no_more() -> None:
    head = b"\x93\xa1x\xa9succeeded"
    assert len(parse_fragments(head + nested_list(MAX_DEPTH))) == 1

    with pytest.raises(ProtocolError, match="deeper"):
        parse_fragments(head + nested_list(MAX_DEPTH + 1))
