"""The judge finds what is broken, and nothing where nothing is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.chaos.history import Event, Outcome, Wanted, What, judge

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

# A busy machine is no bug; and whole histories take long to draw, so that there are not too many of them.
AT_LEISURE = settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
POISON = Wanted("never", frozenset({"failed:Poison"}))
OTHER = Outcome("failed", "Other")
OUT_OF_ORDER = Outcome("failed", "OutOfOrder")


@dataclass
class Story:
    """A history that somebody can spoil."""

    wanted: dict[str, Wanted] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    past: dict[str, list[Outcome]] = field(default_factory=dict)

    def kinds(self) -> set[str]:
        return set(judge(self.wanted, self.events, past=self.past).violations)

    def add(
        self, what: What, job: str, outcome: Outcome | None = None, by: str = "", detail: str = ""
    ) -> None:
        self.events.append(Event(what, job, by, outcome, detail=detail))

    def drop(self, what: What, job: str) -> None:
        self.events = [event for event in self.events if (event.what, event.job) != (what, job)]

    def with_(self, what: What) -> list[str]:
        return sorted({event.job for event in self.events if event.what is what})

    def outcome(self, job: str) -> Outcome:
        return next(event.outcome for event in self.events if event.job == job and event.outcome)


@st.composite
def good_stories(draw: st.DrawFn) -> Story:
    """Anything that may happen where every guarantee holds; at least one job is accepted and ends."""
    story = Story()
    submits = st.sampled_from([What.ACCEPTED, What.UNKNOWN, What.REFUSED, What.JOINED, None])
    for number, answer in enumerate([What.ACCEPTED, *draw(st.lists(submits, max_size=6))]):
        job = f"j{number}"
        story.wanted[job] = draw(st.sampled_from([Wanted(f"digest {number}"), POISON]))
        story.add(What.SUBMITTED, job)
        if answer is not None:  # else whoever submitted it was killed
            story.add(answer, job)
        if answer in {What.REFUSED, What.JOINED} or (answer is not What.ACCEPTED and draw(st.booleans())):
            continue
        wanted = story.wanted[job]
        outcome = Outcome("failed", "Poison") if wanted is POISON else Outcome("succeeded", wanted.result)
        earlier = draw(st.lists(st.sampled_from([OUT_OF_ORDER, outcome]), max_size=2))
        for run, ending in enumerate([*earlier, outcome]):
            for attempt in range(draw(st.integers(0, 3))):
                story.add(What.BEGAN, job, by=f"w{draw(st.integers(1, 3))}", detail=f"{run}.{attempt}")
                story.add(What.SEEN, job, ending)
            for channel in draw(st.lists(st.sampled_from(["c1", "c2", "c3"]), unique=True)):
                story.add(What.TOLD, job, ending, by=channel)
        if earlier:
            story.past[job] = earlier
            story.wanted[job] = Wanted(wanted.result, wanted.endings | {OUT_OF_ORDER.ending})
            told = draw(st.integers(0, len(earlier)))
            for what in [What.REDRIVING] * len(earlier) + [What.REDRIVEN] * told:
                story.add(what, job)
        story.add(What.FINAL, job, outcome)
    story.events = draw(st.permutations(story.events))
    return story


def lose(story: Story, job: str) -> None:
    story.drop(What.FINAL, job)


def deny(story: Story, job: str) -> None:
    story.add(What.MISSING, job)


def announce_again(story: Story, job: str) -> None:
    for _ in range(len(story.past.get(job, ())) + 2):
        story.add(What.TOLD, job, story.outcome(job), by="c9")


def overwrite(story: Story, job: str) -> None:
    """Somebody saw an outcome that none of its runs had."""
    story.wanted[job] = Wanted(story.wanted[job].result, story.wanted[job].endings | {OTHER.ending})
    story.add(What.SEEN, job, OTHER)


def cross(story: Story, job: str) -> None:
    story.events = [event for event in story.events if event.job != job]
    story.past.pop(job, None)
    story.wanted[job] = Wanted("its own")
    story.add(What.ACCEPTED, job)
    story.add(What.FINAL, job, Outcome("succeeded", "another job's"))


def invent(story: Story, job: str) -> None:
    story.add(What.FINAL, "ghost", Outcome("succeeded", "boo"))


def run_refused(story: Story, job: str) -> None:
    story.wanted["ghost"] = Wanted("boo")
    story.add(What.SUBMITTED, "ghost")
    story.add(What.REFUSED, "ghost")
    story.add(What.BEGAN, "ghost", by="w1")


def fail(story: Story, job: str) -> None:
    story.events = [event for event in story.events if event.job != job or event.outcome is None]
    story.add(What.FINAL, job, OTHER)


def leave_half_way(story: Story, job: str) -> None:
    """Nobody knows whether it was accepted; it ran, and then it was gone."""
    story.wanted["half"] = Wanted("x")
    story.add(What.SUBMITTED, "half")
    story.add(What.UNKNOWN, "half")
    story.add(What.BEGAN, "half", by="w1")


def run_another_for_it(story: Story, job: str) -> None:
    """Its submitter was given the job that has its unique key, and yet it ran."""
    story.wanted["ghost"] = Wanted("boo")
    story.add(What.SUBMITTED, "ghost")
    story.add(What.JOINED, "ghost", detail=job)
    story.add(What.BEGAN, "ghost", by="w1")


def begin_early(story: Story, job: str) -> None:
    story.wanted["later"] = Wanted("x", delay_s=1.0)
    for what in (What.SUBMITTED, What.ACCEPTED):
        story.add(what, "later")
    story.events.append(Event(What.BEGAN, "later", "w1", at_s=0.9))
    story.add(What.FINAL, "later", Outcome("succeeded", "x"))


def run_twice_at_once(story: Story, job: str) -> None:
    story.wanted["twin"] = Wanted("x")
    for what in (What.SUBMITTED, What.ACCEPTED):
        story.add(what, "twin")
    for place in ("w1", "w2"):
        story.add(What.BEGAN, "twin", by=place, detail="1")
    story.add(What.FINAL, "twin", Outcome("succeeded", "x"))


def run_unasked(story: Story, job: str) -> None:
    """It has one more run than any operator asked for."""
    story.past[job] = [*story.past.get(job, ()), story.outcome(job)]


def forget_a_run(story: Story, job: str) -> None:
    """An operator was told of a run that the job never had."""
    for _ in range(len(story.past.get(job, ())) + 1):
        story.add(What.REDRIVING, job)
        story.add(What.REDRIVEN, job)


HARMS: dict[Callable[[Story, str], None], str] = {
    lose: "lost",
    deny: "lost",
    leave_half_way: "lost",
    announce_again: "duplicated",
    overwrite: "overwritten",
    cross: "crossed",
    invent: "unexpected",
    run_refused: "unexpected",
    fail: "wrong",
    run_another_for_it: "unexpected",
    begin_early: "early",
    run_twice_at_once: "repeated",
    run_unasked: "unexpected",
    forget_a_run: "lost",
}


@AT_LEISURE
@given(good_stories())
def test_a_history_in_which_every_guarantee_holds_has_no_problems(story: Story) -> None:
    assert story.kinds() == set()


@pytest.mark.parametrize("harm", HARMS, ids=lambda harm: harm.__name__)
@AT_LEISURE
@given(story=good_stories(), chance=st.randoms(use_true_random=False))
def test_one_harm_to_a_good_history_is_found_and_called_by_its_name(
    harm: Callable[[Story, str], None], story: Story, chance: random.Random
) -> None:
    accepted = [job for job in story.with_(What.ACCEPTED) if job in story.with_(What.FINAL)]
    harm(story, chance.choice(accepted))
    chance.shuffle(story.events)

    assert story.kinds() == {HARMS[harm]}


@given(
    story=good_stories(), harms=st.lists(st.sampled_from(list(HARMS)), min_size=1, max_size=3, unique=True)
)
def test_several_harms_do_not_hide_each_other(
    story: Story, harms: list[Callable[[Story, str], None]]
) -> None:
    for number, harm in enumerate(harms):
        job = f"victim {number}"
        story.wanted[job] = Wanted("x")
        for what in (What.SUBMITTED, What.ACCEPTED):
            story.add(what, job)
        story.add(What.FINAL, job, Outcome("succeeded", "x"))
        harm(story, job)

    assert story.kinds() == {HARMS[harm] for harm in harms}


def test_a_push_that_never_came_is_no_problem_because_the_record_is_the_truth() -> None:
    story = Story({"a": Wanted("x")})
    story.add(What.SUBMITTED, "a")
    story.add(What.ACCEPTED, "a")
    story.add(What.FINAL, "a", Outcome("succeeded", "x"))

    assert story.kinds() == set()


def test_a_submit_without_an_answer_whose_job_ended_is_recovered() -> None:
    story = Story({"a": Wanted("x"), "b": Wanted("y")})
    for job in story.wanted:
        story.add(What.SUBMITTED, job)
        story.add(What.UNKNOWN, job)
    story.add(What.FINAL, "a", Outcome("succeeded", "x"))

    verdict = judge(story.wanted, story.events)

    assert verdict.violations == {}
    assert verdict.recovered == ["a"]


def test_a_job_that_was_refused_and_then_submitted_again_is_accepted() -> None:
    story = Story({"a": Wanted("x")})
    for what in (What.SUBMITTED, What.REFUSED, What.SUBMITTED, What.ACCEPTED):
        story.add(what, "a")
    story.add(What.FINAL, "a", Outcome("succeeded", "x"))

    assert story.kinds() == set()


def test_a_job_may_run_whose_submitter_died_while_he_submitted_it_again() -> None:
    story = Story({"a": Wanted("x")})
    for what in (What.SUBMITTED, What.REFUSED, What.SUBMITTED, What.REFUSED):
        story.add(what, "a")
    story.add(What.FINAL, "a", Outcome("succeeded", "x"))
    assert story.kinds() == {"unexpected"}

    story.add(What.SUBMITTED, "a")
    assert story.kinds() == set()


def test_two_channels_may_announce_the_same_outcome() -> None:
    story = Story({"a": Wanted("x")})
    story.add(What.SUBMITTED, "a")
    for channel in ("c1", "c2"):
        story.add(What.TOLD, "a", Outcome("succeeded", "x"), by=channel)
    story.add(What.FINAL, "a", Outcome("succeeded", "x"))

    assert story.kinds() == set()


@pytest.mark.parametrize(("hurried_s", "began_s", "kinds"), [(0.4, 0.5, set()), (0.6, 0.5, {"early"})])
def test_a_job_may_begin_before_its_time_once_an_operator_wants_it_to(
    hurried_s: float, began_s: float, kinds: set[str]
) -> None:
    story = Story({"later": Wanted("x", delay_s=1.0)})
    for what in (What.SUBMITTED, What.ACCEPTED):
        story.add(what, "later")
    story.events.append(Event(What.HURRIED, "later", "operator", at_s=hurried_s))
    story.events.append(Event(What.BEGAN, "later", "w1", at_s=began_s))
    story.add(What.FINAL, "later", Outcome("succeeded", "x"))
    assert story.kinds() == kinds
