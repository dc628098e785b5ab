"""The result contract to the letter: one outcome per job, in order, and never another job's result."""

from __future__ import annotations

from collections import OrderedDict, UserDict, deque
from datetime import UTC, datetime, timedelta, tzinfo
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.chaos.kit import make_batch

from microbatch.common.codec import decode
from microbatch.common.errors import ResultMismatch
from microbatch.worker.answers import describe, failures, outcomes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from microbatch.common.scripts import Outcome

LIMIT = 10_000


def judge(locals_: list[str], answer: object, *, mapping_allowed: bool = True) -> list[Outcome]:
    batch, entries = make_batch(locals_)
    return outcomes(batch, entries, answer, mapping_allowed=mapping_allowed, max_result_bytes=LIMIT)


def error_of(outcome: Outcome) -> dict[str, str]:
    assert not outcome.succeeded
    error: dict[str, str] = decode(outcome.value)
    return error


ids = st.lists(st.text("abcdefgh0123", min_size=1, max_size=6), min_size=1, max_size=20, unique=True)


@given(ids, st.sampled_from([list, tuple]))
def test_a_list_or_tuple_gives_each_job_the_result_in_its_place(
    locals_: list[str], kind: Callable[[Any], Any]
) -> None:
    judged = judge(locals_, kind([f"result of {local}" for local in locals_]))

    assert [outcome.entry.local for outcome in judged] == locals_
    assert [decode(outcome.value) for outcome in judged] == [f"result of {local}" for local in locals_]
    assert all(outcome.succeeded for outcome in judged)


@given(ids, st.randoms(use_true_random=False))
def test_a_mapping_gives_each_job_its_own_result_whatever_its_order(locals_: list[str], random: Any) -> None:
    shuffled = list(locals_)
    random.shuffle(shuffled)

    judged = judge(locals_, {f"q/{local}": f"result of {local}" for local in shuffled})

    assert [outcome.entry.local for outcome in judged] == locals_
    assert [decode(outcome.value) for outcome in judged] == [f"result of {local}" for local in locals_]


@given(ids, st.data())
def test_an_exception_in_one_place_fails_that_job_and_no_other(locals_: list[str], data: Any) -> None:
    fails = data.draw(st.lists(st.booleans(), min_size=len(locals_), max_size=len(locals_)))
    answer = [ValueError(local) if bad else local for local, bad in zip(locals_, fails, strict=True)]

    judged = judge(locals_, answer)

    for local, bad, outcome in zip(locals_, fails, judged, strict=True):
        assert outcome.entry.local == local
        assert outcome.succeeded is not bad
        assert (error_of(outcome)["message"] if bad else decode(outcome.value)) == local


@given(ids, st.integers(0, 30))
def test_any_other_length_is_a_mismatch_and_is_never_cut_or_stretched(
    locals_: list[str], length: int
) -> None:
    if length == len(locals_):
        return
    with pytest.raises(ResultMismatch, match=f"{length} results for {len(locals_)} jobs"):
        judge(locals_, [None] * length)


@given(ids, st.data())
def test_a_mapping_with_a_missing_or_an_unknown_id_is_a_mismatch(locals_: list[str], data: Any) -> None:
    answer: dict[str, int] = {f"q/{local}": 1 for local in locals_}
    odd = data.draw(st.sampled_from(locals_))
    broken = [{**answer, "q/zzzzzzz": 1}, {**answer, odd: 1}, {key: 1 for key in answer if key != f"q/{odd}"}]
    broken.append({**broken[-1], "q/zzzzzzz": 1})  # the right number of wrong ids

    for wrong in broken:
        with pytest.raises(ResultMismatch):
            judge(locals_, wrong)


def a_generator() -> Iterator[int]:
    yield 1
    yield 2


@pytest.mark.parametrize(
    "answer",
    [
        "ab",
        b"ab",
        None,
        7,
        {1, 2},
        frozenset({1, 2}),
        a_generator(),
        iter([1, 2]),
        range(2),
        deque([1, 2]),
        object(),
    ],
    ids=lambda answer: type(answer).__name__,
)
def test_what_is_neither_list_nor_tuple_nor_mapping_is_a_mismatch_that_names_its_type(answer: object) -> None:
    with pytest.raises(ResultMismatch, match=type(answer).__name__):
        judge(["a", "b"], answer)


@pytest.mark.parametrize("kind", [dict, OrderedDict, UserDict, MappingProxyType])
def test_any_kind_of_mapping_is_an_answer_of_functions_that_saw_the_ids(kind: Callable[[Any], Any]) -> None:
    assert len(judge(["a", "b"], kind({"q/a": 1, "q/b": 2}))) == 2


def test_a_mapping_is_no_answer_of_a_function_that_never_saw_the_ids() -> None:
    with pytest.raises(ResultMismatch, match="dict is no answer to a batch; return a list or a tuple"):
        judge(["a"], {"q/a": 1}, mapping_allowed=False)


def test_an_entry_that_was_added_twice_costs_its_mates_no_result() -> None:
    judged = judge(["a", "b", "a"], {"q/a": 1, "q/b": 2})

    assert [decode(outcome.value) for outcome in judged] == [1, 2, 1]


class Odd:
    """What no codec knows."""


class RaisingZone(tzinfo):
    def utcoffset(self, _when: datetime | None) -> timedelta:
        raise RuntimeError("no offset today")

    def tzname(self, _when: datetime | None) -> str:
        return "odd"

    def dst(self, _when: datetime | None) -> timedelta:
        return timedelta(0)


class RaisingDict(dict[str, int]):
    def items(self) -> NoReturn:
        raise LookupError("no items today")


def endless() -> list[Any]:
    result: list[Any] = []
    result.append(result)
    return result


@pytest.mark.parametrize(
    ("result", "error_type"),
    [
        (Odd(), "PayloadError"),
        ({1: 2}, "PayloadError"),
        (ValueError, "PayloadError"),
        ({1, 2}, "PayloadError"),
        (2**64, "PayloadError"),
        ("\ud800", "PayloadError"),
        (datetime(2026, 1, 1), "PayloadError"),  # noqa: DTZ001 - a naive one is the point
        (endless(), "PayloadError"),
        (datetime(2026, 1, 1, tzinfo=RaisingZone()), "PayloadError"),
        (RaisingDict(a=1), "PayloadError"),
        ("x" * (LIMIT + 1), "ResultTooLarge"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_result_that_cannot_travel_fails_its_own_job_only(result: object, error_type: str) -> None:
    first, bad, last = judge(["a", "b", "c"], ["fine", result, "fine too"])

    assert (decode(first.value), decode(last.value)) == ("fine", "fine too")
    assert first.succeeded
    assert last.succeeded
    assert error_of(bad)["type"] == error_type


def test_a_result_of_exactly_the_limit_travels() -> None:
    (outcome,) = judge(["a"], [b"x" * (LIMIT - 3)])  # bin 16: three bytes of head

    assert outcome.succeeded
    assert len(outcome.value) == LIMIT


@pytest.mark.parametrize(
    "value", [None, True, 0, -(2**63), 1.5, "", b"", [], {}, datetime(2026, 1, 1, tzinfo=UTC)]
)
def test_falsy_and_plain_values_are_results_like_any_other(value: object) -> None:
    (outcome,) = judge(["a"], [value])

    assert outcome.succeeded
    assert decode(outcome.value) == value


class BrokenText(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text today")

    __repr__ = __str__


class LeavingText(Exception):
    def __str__(self) -> str:
        raise SystemExit(3)

    __repr__ = __str__


@pytest.mark.parametrize(
    "error", [BrokenText(), LeavingText(), ValueError("\ud800"), ValueError("x" * 10**6)]
)
def test_whatever_an_exception_does_when_it_is_shown_its_job_gets_an_error(error: Exception) -> None:
    _, entries = make_batch(["a", "b"])

    for outcome in failures(entries, error):
        assert error_of(outcome)["type"] == type(error).__name__
        assert len(outcome.value) < 30_000
    assert len(describe(error)) < 1_000
    assert error_of(judge(["a"], [error])[0])["type"] == type(error).__name__


def test_an_error_travels_with_its_traceback_and_the_end_of_it_is_kept() -> None:
    def fail() -> NoReturn:
        raise KeyError("needle")

    with pytest.raises(KeyError) as raised:
        fail()
    _, entries = make_batch(["a"])

    error = error_of(failures(entries, raised.value)[0])

    assert error["message"] == "'needle'"
    assert "in fail" in error["traceback"]
    assert error["traceback"].rstrip().endswith("KeyError: 'needle'")
