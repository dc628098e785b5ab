"""The judge of unique keys finds two jobs with one key, and whoever was given the wrong job."""

from __future__ import annotations

import pytest
from tests.chaos.history import Event, What, Window
from tests.chaos.rivals import Hold, rivals

KEYS = {"a": "k", "b": "k", "c": "other"}
A = Hold("k", 10.0, 20.0)


def asked(at_s: float, job: str, answered_s: float, given: str) -> list[Event]:
    return [Event(What.SUBMITTED, job, at_s=at_s), Event(What.JOINED, job, at_s=answered_s, detail=given)]


def test_one_after_the_other_may_have_a_key_also_in_the_same_millisecond() -> None:
    assert rivals(KEYS, {"a": A, "b": Hold("k", 20.0, 30.0), "c": Hold("other", 15.0, 16.0)}, []) == []


def test_two_jobs_at_a_time_are_found_whichever_ends_first() -> None:
    for until_s in (15.0, 25.0):
        (found,) = rivals(KEYS, {"a": A, "b": Hold("k", 14.0, until_s)}, [])
        assert found == "a and b had the key k together for 6.000 s"


def test_a_short_hold_within_a_long_one_does_not_hide_the_next() -> None:
    holds = {"a": A, "b": Hold("k", 12.0, 13.0), "d": Hold("k", 19.0, 21.0)}
    assert len(rivals({**KEYS, "d": "k"}, holds, [])) == 2


@pytest.mark.parametrize(("at_s", "answered_s"), [(11, 12), (9, 11), (19, 22)])
def test_a_submit_may_be_given_whoever_had_the_key_while_it_was_under_way(
    at_s: float, answered_s: float
) -> None:
    assert rivals(KEYS, {"a": A}, asked(at_s, "b", answered_s, "a")) == []


@pytest.mark.parametrize(
    ("at_s", "answered_s", "given", "sentence"),
    [
        (21, 22, "a", "whose time with the key k was over"),
        (8, 9, "a", "before that was accepted"),
        (11, 12, "c", "which never had the key k"),
        (11, 12, "ghost", "which never had the key k"),
    ],
)
def test_a_submit_that_was_given_another_job_is_found(
    at_s: float, answered_s: float, given: str, sentence: str
) -> None:
    holds = {"a": A, "c": Hold("other", 10.0, 20.0)}
    (found,) = rivals(KEYS, holds, asked(at_s, "b", answered_s, given))
    assert sentence in found


def test_each_try_of_a_submit_is_judged_by_its_own_time() -> None:
    tries = [Event(What.SUBMITTED, "b", at_s=11.0), *asked(21.0, "b", 22.0, "a")]
    assert len(rivals(KEYS, {"a": A}, tries)) == 1


def test_a_job_that_an_operator_ran_again_may_have_its_key_again() -> None:
    assert rivals(KEYS, {"a": Hold("k", 10.0, 20.0, again=True)}, asked(21, "b", 22, "a")) == []


def test_what_a_lost_primary_answered_last_may_be_undone() -> None:
    given = asked(11, "b", 12, "ghost")
    assert rivals(KEYS, {}, given, [Window(11.5, 13.0)]) == []
    assert len(rivals(KEYS, {}, given, [Window(13.0, 14.0)])) == 1
