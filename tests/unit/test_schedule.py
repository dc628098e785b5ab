"""Schedules: checked where they are made, and the same bytes wherever they are made alike."""

from __future__ import annotations

from typing import Any

import pytest

from microbatch.common.codec import decode, encode
from microbatch.common.errors import PayloadError, ProtocolError
from microbatch.common.schedules.schedule import Schedule, Timetable, tick_headers, tick_job
from microbatch.common.schedules.ticks import IntervalRule, moment


def schedule(**more: Any) -> Schedule:
    return Schedule("s", queue="q", **({"every_s": 5} | more))


def test_equal_schedules_have_equal_definitions_and_others_have_not() -> None:
    assert schedule(payload={"a": 1}).definition() == schedule(payload={"a": 1}).definition()
    different: list[dict[str, Any]] = [
        {"payload": 1},
        {"every_s": 6},
        {"every_s": None, "cron": "0 3 * * *"},
        {"every_s": None, "cron": "0 3 * * *", "timezone": "Europe/Berlin"},
        {"missed": "skip"},
        {"max_missed": 5},
        {"kind": "k"},
        {"headers": {"a": 1}},
        {"priority": 3},
        {"batch_key": "b"},
        {"max_attempts": 2},
        {"result_ttl_s": 60},
        {"expires_in_s": 60},
    ]
    assert len({schedule(**each).definition() for each in [{}, *different]}) == len(different) + 1


def test_what_an_entry_needs_is_said_in_words_and_headers() -> None:
    full = schedule(
        kind="k", headers={"tenant": 7}, priority=-3, batch_key="b", max_attempts=2, result_ttl_s=1.5
    ).definition()
    assert full.options == b"ttl_ms=1500 max_attempts=2 priority=-3 batch_key=b"
    assert decode(full.headers) == {"tenant": 7, "kind": "k", "schedule": "s"}
    assert schedule().definition().options == b""
    assert decode(tick_headers(full.headers, 5_000))["tick"] == moment(5_000)
    assert tick_job("s", 5_000) == "s:19700101T000005Z"


def test_a_timetable_comes_back_as_it_went() -> None:
    for each in (
        schedule(missed="run_all", max_missed=7, expires_in_s=9),
        schedule(every_s=None, cron="@daily"),
    ):
        timetable = Timetable.decoded(each.definition().timetable)
        assert timetable.rule == each.rule
        assert (timetable.missed, timetable.max_missed) == (each.missed, each.max_missed)
    assert Timetable.decoded(schedule(expires_in_s=9).definition().timetable).expires_in_ms == 9_000


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        encode([1]),
        encode({"v": 2}),
        encode({"v": 1}),
        encode({"v": 1, "every_ms": "5"}),
        encode({"v": 1, "every_ms": 5, "missed": "skip", "max_missed": 1}),
        encode({"v": 1, "every_ms": 5_000, "missed": "often", "max_missed": 1}),
        encode({"v": 1, "every_ms": 5_000, "missed": "skip", "max_missed": 0}),
        encode({"v": 1, "cron": "* * * * *", "timezone": 5, "missed": "skip", "max_missed": 1}),
    ],
)
def test_bytes_that_are_no_timetable_of_ours_are_a_typed_error(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        Timetable.decoded(data)


def test_a_timetable_with_an_interval_is_an_interval() -> None:
    assert Timetable.decoded(schedule(every_s=1.5).definition().timetable).rule == IntervalRule(1_500)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"missed": "later"}, "missed is"),
        ({"max_missed": 0}, "max_missed is"),
        ({"max_missed": True}, "max_missed is"),
        ({"max_attempts": 0}, "max_attempts is"),
        ({"priority": 101}, "priority is"),
        ({"priority": "high"}, "priority is"),
        ({"batch_key": "a b"}, "a batch_key has"),
        ({"kind": ""}, "a kind has"),
        ({"result_ttl_s": -1}, "result_ttl_s is"),
        ({"expires_in_s": 0.5}, "expires_in_s is"),
    ],
)
def test_what_cannot_be_is_refused_where_it_is_written(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        schedule(**given)


def test_names_and_payloads_are_checked_too() -> None:
    for name in ("", "a/b", "x" * 97):
        with pytest.raises(ValueError, match="name has 1 to 96"):
            Schedule(name, queue="q", every_s=5)
    with pytest.raises(ValueError, match="queue name"):
        Schedule("s", queue="a b", every_s=5)
    with pytest.raises(PayloadError):
        schedule(payload={1, 2})
