"""Payloads and results as JSON: nothing is lost, nothing steers a terminal, wrong text is told."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch.common.codec import decode, encode
from microbatch.console.json_values import BadJson, json_text, parse_json

KEYS = st.one_of(st.text(max_size=8), st.sampled_from(["$bytes", "$float", "$$bytes", "$$$float", "$"]))
VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**63), 2**64 - 1),
        st.floats(allow_nan=False),
        st.text(),
        st.binary(),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=20,
)


def refuse(constant: str) -> NoReturn:
    raise AssertionError(f"{constant} is not JSON")


@given(VALUES)
def test_what_is_printed_reads_back_as_the_same_value(value: Any) -> None:
    assert parse_json(json_text(value)) == value


@given(VALUES)
def test_output_is_strict_json_on_one_line_that_cannot_steer_a_terminal(value: Any) -> None:
    text = json_text(value)
    json.loads(text, parse_constant=refuse)
    assert text.isprintable()


@given(st.text(st.characters(exclude_categories=["Cs"])).map(lambda text: {"text": text}))
def test_every_value_of_the_wire_can_be_printed_and_read(value: Any) -> None:
    assert parse_json(json_text(decode(encode(value, limit_bytes=1 << 20)))) == value


def test_bytes_are_base64_under_a_dollar_key() -> None:
    assert json_text([b"hello"]) == '[{"$bytes": "aGVsbG8="}]'
    assert parse_json('{"data": {"$bytes": "aGVsbG8="}}') == {"data": b"hello"}


def test_datetimes_are_iso_8601() -> None:
    assert json_text(datetime(2030, 1, 31, 12, tzinfo=UTC)) == '"2030-01-31T12:00:00+00:00"'
    east = timezone(timedelta(hours=2))
    assert (
        json_text({"at": datetime(2030, 1, 31, 12, 0, 0, 5, east)})
        == '{"at": "2030-01-31T12:00:00.000005+02:00"}'
    )


def test_numbers_that_json_lacks_survive() -> None:
    assert json_text([math.nan, math.inf, -math.inf]) == (
        '[{"$float": "NaN"}, {"$float": "Infinity"}, {"$float": "-Infinity"}]'
    )
    assert math.isnan(parse_json('{"$float": "NaN"}'))
    assert parse_json('{"$float": "-Infinity"}') == -math.inf


def test_a_dict_that_only_looks_like_bytes_stays_a_dict() -> None:
    assert json_text({"$bytes": "aGk="}) == '{"$$bytes": "aGk="}'
    assert parse_json('{"$$bytes": "aGk="}') == {"$bytes": "aGk="}
    assert parse_json('{"$bytes": "aGk=", "more": 1}') == {"$bytes": "aGk=", "more": 1}


def test_keys_of_bytes_which_no_version_of_ours_writes_are_shown_all_the_same() -> None:
    assert json_text({b"k\xff": 1}) == '{"k\\\\xff": 1}'


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "not JSON: Expecting value at column 1"),
        ("hello", "not JSON: Expecting value at column 1"),
        ("[1,\n2", "not JSON: Expecting ',' delimiter at line 2 column 2"),
        ("{'a': 1}", "not JSON: Expecting property name"),
        ("NaN", 'NaN is not JSON: write {"$float": "NaN"}'),
        ("[-Infinity]", 'write {"$float": "-Infinity"}'),
        ('{"$bytes": "a"}', "has to be text in base64"),
        ('{"$bytes": 5}', "has to be text in base64"),
        ('{"$float": "1"}', "has to be one of"),
        ('{"$float": []}', "has to be one of"),
        ("[" * 100_000, "nested too deep"),
        ("1" * 5_000, "not usable"),
    ],
)
def test_text_that_is_no_payload_is_told(text: str, complaint: str) -> None:
    with pytest.raises(BadJson) as caught:
        parse_json(text)
    assert complaint in str(caught.value)


def test_nesting_beyond_what_can_be_printed_is_an_error_and_no_crash() -> None:
    value: Any = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(BadJson, match="too deep"):
        json_text(value)
