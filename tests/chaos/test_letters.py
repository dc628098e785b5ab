"""The judge of dead letters finds missing, second, strange and undead ones."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.chaos.history import Outcome
from tests.chaos.letters import ALL, PURGE_LETTERS, letter_faults
from tests.chaos.orders import LATE_S, Order
from tests.chaos.run.observer import Record

FAILED = Record(Outcome("failed", "E"), 5.0)
LETTER = "5000-0"
NAMED = Order(PURGE_LETTERS, "q", ("1-0=q/b", f"{LETTER}=q/a"), 10.0, 11.0, "2")
EVERY = Order(PURGE_LETTERS, "q", (ALL,), 10.0, 11.0, "9")
UNTOLD = replace(EVERY, until_s=10.0 + LATE_S, answer=None)


def faults(record: Record, letters: list[str], *orders: Order) -> list[str]:
    return list(letter_faults({"q/a": record}, {"q/a": letters}, orders))


def test_one_letter_of_what_failed_and_none_of_what_did_not_is_right() -> None:
    assert faults(FAILED, [LETTER]) == []
    assert faults(Record(Outcome("cancelled", None), 5.0), []) == []


@pytest.mark.parametrize(
    ("record", "letters"),
    [(FAILED, []), (FAILED, [LETTER, "6000-0"]), (Record(Outcome("succeeded", 1), 5.0), [LETTER])],
)
def test_missing_second_and_strange_letters_are_found(record: Record, letters: list[str]) -> None:
    assert len(faults(record, letters)) == 1


@pytest.mark.parametrize("order", [NAMED, EVERY, UNTOLD, replace(NAMED, answer=None)])
def test_a_letter_that_was_to_be_purged_may_be_gone(order: Order) -> None:
    assert faults(FAILED, [], order) == []


@pytest.mark.parametrize(
    "order",
    [
        replace(NAMED, words=("1-0=q/b",)),
        replace(NAMED, asked_s=4.0, until_s=4.5),  # that was an earlier run's
        replace(EVERY, target="other"),
        replace(EVERY, asked_s=4.0, until_s=4.5),
    ],
)
def test_a_letter_that_nobody_had_purged_must_not_be_gone(order: Order) -> None:
    assert faults(FAILED, [], order) == ["q/a is failed and has no dead letter"]


@pytest.mark.parametrize("order", [NAMED, EVERY])
def test_a_letter_that_is_there_after_its_purge_is_found(order: Order) -> None:
    assert faults(FAILED, [LETTER], order) == ["q/a has a dead letter that was purged"]


@pytest.mark.parametrize(
    ("order", "letter"),
    [(UNTOLD, LETTER), (replace(NAMED, answer=None), LETTER), (NAMED, "10500-0"), (EVERY, "10500-0")],
)
def test_what_was_not_surely_purged_or_came_later_may_be_there(order: Order, letter: str) -> None:
    assert faults(FAILED, [letter], order) == []
