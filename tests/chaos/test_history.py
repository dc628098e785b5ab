"""The judge finds what is broken, and nothing where nothing is."""

from __future__ import annotations

import copy

from hypothesis import given
from hypothesis import strategies as st
from tests.chaos.history import History, Outcome, problems


def a_good_history(jobs: int = 3) -> History:
    outcomes = {f"j{n}": Outcome("succeeded", f"digest {n}") for n in range(jobs)}
    return History(
        accepted={job: outcome.value for job, outcome in outcomes.items()},
        told=list(outcomes.items()),
        read=list(outcomes.items())[:1],
        final=dict(outcomes),
    )


def kinds(history: History) -> set[str]:
    return {problem.partition(":")[0] for problem in problems(history)}


def test_a_good_history_has_no_problems() -> None:
    assert problems(a_good_history()) == []
    assert problems(History()) == []


def test_a_push_that_never_came_is_no_problem_because_the_record_is_the_truth() -> None:
    history = a_good_history()
    history.told.clear()

    assert problems(history) == []


def test_a_job_without_an_outcome_is_lost() -> None:
    history = a_good_history()
    del history.final["j1"]

    assert kinds(history) == {"lost"}


def test_a_job_that_is_announced_twice_is_duplicated_also_with_the_same_result() -> None:
    history = a_good_history()
    history.told.append(history.told[0])

    assert kinds(history) == {"duplicated"}


def test_an_outcome_that_changed_after_it_was_seen_is_overwritten() -> None:
    history = a_good_history()
    history.read.append(("j2", Outcome("failed", "WorkerLost")))

    assert kinds(history) == {"overwritten"}


def test_a_result_of_another_payload_is_crossed() -> None:
    history = a_good_history()
    history.final["j0"], history.final["j1"] = history.final["j1"], history.final["j0"]
    history.told.clear()
    history.read.clear()

    assert kinds(history) == {"crossed"}
    assert len(problems(history)) == 2


def test_an_outcome_of_a_job_that_nobody_submitted_is_invented() -> None:
    history = a_good_history()
    history.final["ghost"] = Outcome("succeeded", "boo")

    assert kinds(history) == {"invented"}


def test_an_error_that_no_processor_raised_is_a_failure() -> None:
    history = a_good_history()
    history.final["j0"] = Outcome("failed", "WorkerLost")
    history.told = history.told[1:]
    history.read.clear()

    assert kinds(history) == {"failed"}


@given(st.integers(1, 8), st.data())
def test_any_single_harm_to_a_good_history_is_found(jobs: int, data: st.DataObject) -> None:
    history = a_good_history(jobs)
    victim = data.draw(st.sampled_from(sorted(history.accepted)))
    harm = data.draw(st.sampled_from(["drop", "repeat", "change", "swap", "add"]))
    before = copy.deepcopy(history)
    match harm:
        case "drop":
            del history.final[victim]
        case "repeat":
            history.told.append((victim, history.final[victim]))
        case "change" | "swap":
            history.final[victim] = Outcome("succeeded", "something else")
        case "add":
            history.told.append(("ghost", Outcome("succeeded", "boo")))

    assert problems(before) == []
    assert problems(history)
