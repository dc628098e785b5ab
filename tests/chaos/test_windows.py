"""The judge of a failover: what a lost primary said last need not last; all else has to."""

from __future__ import annotations

import pytest
from tests.chaos.history import Event, Outcome, Wanted, What, Window, judge
from tests.chaos.run.schedule import Faults, schedule

FAILOVER = Window(100.0, 102.0)
RIGHT, OTHER = Outcome("succeeded", "digest"), Outcome("cancelled", None)
WANTED = {"j": Wanted("digest", frozenset({"succeeded", "cancelled"}))}
SUBMITTED = Event(What.SUBMITTED, "j", at_s=50.0)
ACCEPTED = Event(What.ACCEPTED, "j", at_s=51.0)
FINAL = Event(What.FINAL, "j", outcome=RIGHT)


def told(at_s: float, outcome: Outcome = RIGHT) -> Event:
    return Event(What.TOLD, "j", "channel", outcome, at_s)


def kinds(*events: Event) -> set[str]:
    return set(judge(WANTED, events, [FAILOVER]).violations)


def test_a_result_of_the_last_moments_may_be_made_again() -> None:
    assert kinds(SUBMITTED, ACCEPTED, told(101), told(103), FINAL) == set()
    assert kinds(SUBMITTED, ACCEPTED, told(101, OTHER), told(103), FINAL) == set()


@pytest.mark.parametrize(("first", "second"), [(98, 103), (98, 101), (100.5, 101), (103, 104), (98, 99)])
def test_a_result_that_the_replica_had_may_not_and_no_primary_contradicts_itself(
    first: float, second: float
) -> None:
    assert kinds(SUBMITTED, ACCEPTED, told(first), told(second), FINAL) == {"duplicated"}
    assert "overwritten" in kinds(SUBMITTED, ACCEPTED, told(first, OTHER), told(second), FINAL)


def test_what_a_submitter_heard_before_his_answer_came_from_the_heir_he_may_tell_later() -> None:
    def seen(at_s: float, by: str = "producer") -> Event:
        return Event(What.SEEN, "j", by, OTHER, at_s)

    late = (
        Event(What.SUBMITTED, "j", "producer", at_s=99.0),
        Event(What.ACCEPTED, "j", "producer", at_s=103.0),
    )
    assert kinds(*late, told(101, OTHER), seen(103.1), told(104), FINAL) == set()
    assert kinds(*late, seen(103.1), told(104), FINAL) == {"overwritten"}  # nobody told him
    assert kinds(*late, told(101, OTHER), seen(103.1, "waiter"), told(104), FINAL) == {"overwritten"}
    assert kinds(SUBMITTED, ACCEPTED, told(101, OTHER), seen(103.1), told(104), FINAL) == {"overwritten"}


def test_a_redrive_asked_for_in_one_window_may_have_lasted_and_a_later_window_finds_two_runs() -> None:
    failed = Outcome("failed", "ValueError")
    history = [
        *(SUBMITTED, ACCEPTED, told(90, failed)),
        Event(What.REDRIVING, "j", at_s=101.0),
        *(told(103), FINAL),
    ]
    windows, past = [FAILOVER, Window(110.0, 112.0)], {"j": [failed]}
    wanted = {"j": Wanted("digest", frozenset({"succeeded", "failed:ValueError"}))}
    assert judge(wanted, history, windows, past).violations == {}
    assert set(judge(wanted, [*history, told(104)], windows, past).violations) == {"duplicated"}


def test_an_accepted_job_is_not_to_be_lost_whenever_it_was_submitted() -> None:
    late = [Event(What.SUBMITTED, "j", at_s=100.5), Event(What.ACCEPTED, "j", at_s=101.0)]
    assert kinds(*late) == {"lost"}
    assert kinds(SUBMITTED, ACCEPTED, told(101)) == {"lost"}


def test_a_submit_without_an_answer_is_undone_only_where_a_primary_died_meanwhile() -> None:
    began = Event(What.BEGAN, "j", "w", at_s=101.0)
    assert kinds(SUBMITTED, Event(What.UNKNOWN, "j", at_s=52.0), began) == {"lost"}
    verdict = judge(WANTED, [Event(What.SUBMITTED, "j", at_s=99.0), began], [FAILOVER])
    assert (verdict.violations, verdict.undone) == ({}, ["j"])


def test_a_wrong_result_is_wrong_also_in_the_last_moments() -> None:
    crossed = told(101, Outcome("succeeded", "of another job"))
    assert kinds(SUBMITTED, ACCEPTED, crossed, FINAL) == {"crossed"}


def test_failovers_come_only_where_they_are_asked_for() -> None:
    assert "failover" not in {deed.name for deed in schedule(7, 3600, Faults())}
    assert "failover" in {deed.name for deed in schedule(7, 60, Faults(failover=True))}
