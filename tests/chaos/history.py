"""The judge of a chaos run: a pure function from what was seen to what was wrong.

It knows nothing of workers or Redis. Whoever runs the chaos writes down, as events, what became of every
submit, each time that a processor began, every outcome that anybody was told or read at any time, and what
the records say in the end. A submit without an answer is unknown, not failed: such a job may run, once.
Where an operator gave a failed job another run, everything holds for each of its runs. Who may have a unique
key is judged in `rivals.py`.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

__all__ = ["Event", "Outcome", "Verdict", "Wanted", "What", "Window", "judge"]

PENDING_S = 3.0
"""How long a submit may be under way."""

ROUNDING_S = 0.005
"""Redis tells the time of a job in milliseconds, and cuts them off."""


class What(StrEnum):
    """What happened to a job."""

    SUBMITTED = "submitted"
    """Somebody is about to submit it."""
    ACCEPTED = "accepted"
    """Its submit returned."""
    UNKNOWN = "unknown"
    """Its submit got no answer, or not that of the replicas."""
    REFUSED = "refused"
    """Its submit was told that it was not accepted."""
    JOINED = "joined"
    """Its submit was told that another job has its unique key; `detail` is that job."""
    BEGAN = "began"
    """A processor was given it; `by` is the process, `detail` the attempt."""
    SEEN = "seen"
    """Somebody got or read its outcome."""
    MISSING = "missing"
    """After it was accepted, somebody was told that there is no such job."""
    TOLD = "told"
    """Its outcome was announced; `by` is the channel."""
    REDRIVING = "redriving"
    """An operator is about to give it another run."""
    REDRIVEN = "redriven"
    """The operator was told that it has another run."""
    HURRIED = "hurried"
    """An operator is about to have it run before its time."""
    FINAL = "final"
    """Its record had this outcome in the end, when all was quiet."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended: its state, and its result or the type of its error."""

    state: str
    value: object

    @property
    def ending(self) -> str:
        """The state, for a failure with its error's type."""
        return f"{self.state}:{self.value}" if self.state == "failed" else self.state


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened to one job."""

    what: What
    job: str
    by: str = ""
    outcome: Outcome | None = None
    at_s: float = 0.0
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Window:
    """A failover: what was written from `began_s` on may be gone, and nobody heard of it after `ended_s`."""

    began_s: float
    ended_s: float

    def holds(self, event: Event) -> bool:
        return self.began_s <= event.at_s <= self.ended_s

    def may_undo(self, submit: Event) -> bool:
        """Whether a submit that was not answered may have reached the old primary only."""
        return self.began_s - PENDING_S <= submit.at_s <= self.ended_s


@dataclass(frozen=True, slots=True)
class Wanted:
    """What may become of a job.

    Attributes:
        result: What only its payload gives.
        endings: Those that are right.
        delay_s: So long after its submit it begins at the earliest.
    """

    result: object
    endings: frozenset[str] = frozenset({"succeeded"})
    delay_s: float = 0.0


@dataclass(slots=True)
class Verdict:
    """What a history comes to.

    Attributes:
        lost: Accepted, and without an outcome; or somebody was told that it does not exist.
        duplicated: Announced more than once on one channel, for one run.
        crossed: A result that its own payload does not give.
        overwritten: Known with one outcome and with another one, for one run.
        unexpected: Nobody submitted it, or its submit was refused, or was told to take another job for it,
            and yet it ran or ended; or it has a run that nobody gave it.
        wrong: An ending that is not right for this job.
        early: It began before its time.
        repeated: Two processes had the same attempt of it.
        purged: A purge cancelled what ran, or spared what waited.
        rivals: Two jobs had one unique key at the same time, or somebody was given a job that had it not.
        recovered: No problem: submits without an answer whose jobs ended all the same.
        undone: No problem: submits without an answer whose jobs were lost with a primary.
        accepted: How many jobs were.
    """

    lost: list[str] = field(default_factory=list)
    duplicated: list[str] = field(default_factory=list)
    crossed: list[str] = field(default_factory=list)
    overwritten: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    early: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)
    purged: list[str] = field(default_factory=list)
    rivals: list[str] = field(default_factory=list)
    recovered: list[str] = field(default_factory=list)
    undone: list[str] = field(default_factory=list)
    accepted: int = 0

    @property
    def violations(self) -> dict[str, list[str]]:
        """The kinds of problems that there are, and their sentences."""
        return {kind: getattr(self, kind) for kind in KINDS if getattr(self, kind)}


ANSWERS = (What.ACCEPTED, What.UNKNOWN, What.REFUSED, What.JOINED)
"""What each submit ends with, where its process lives to say so."""

KINDS = (
    *("lost", "duplicated", "crossed", "overwritten", "unexpected", "wrong"),
    *("early", "repeated", "purged", "rivals"),
)


def judge(
    wanted: Mapping[str, Wanted],
    events: Iterable[Event],
    failovers: Sequence[Window] = (),
    past: Mapping[str, Sequence[Outcome]] | None = None,
) -> Verdict:
    """Judge a history; without failovers the order of its events does not matter.

    Args:
        wanted: What may become of each job that anybody meant to submit.
        events: All that was seen.
        failovers: What was known within one of these windows need not be true after it. A job that was
            accepted is not to be lost all the same.
        past: How the runs before the last one ended, as the records say, of jobs that have some.
    """
    past = past or {}
    events = _as_heard(list(events), failovers)
    fates: dict[str, set[What]] = defaultdict(set)
    adrift: set[str] = set()
    unanswered: Counter[str] = Counter()
    for event in events:
        fates[event.job].add(event.what)
        unanswered[event.job] += (event.what is What.SUBMITTED) - (event.what in ANSWERS)
        if event.what in {What.SUBMITTED, What.UNKNOWN} and any(each.may_undo(event) for each in failovers):
            adrift.add(event.job)
    for job, count in unanswered.items():
        if count > 0:  # whoever submitted it died before he could say more
            fates[job].add(What.UNKNOWN)

    verdict = Verdict()
    for history, until_s in _histories(events, failovers):
        # One that was asked for within an earlier window may have lasted all the same.
        redrives = Counter(
            event.job for event in events if event.what is What.REDRIVING and event.at_s <= until_s
        )
        _judge_history(history, past, redrives, verdict)
    for job, fate in fates.items():
        _judge_fate(job, fate, verdict, is_adrift=job in adrift)
    known = [(event.job, event.outcome) for event in events]
    known += [(job, outcome) for job, outcomes in past.items() for outcome in outcomes]
    for job, outcome in dict.fromkeys(known):
        if job in wanted and outcome is not None:
            _judge_outcome(job, wanted[job], outcome, verdict)
    _judge_redrives(events, failovers, past, verdict)
    _judge_beginnings(wanted, events, verdict)
    if not failovers:  # where what was claimed is undone, its attempt is claimed again
        _judge_attempts(events, verdict)
    return verdict


def _as_heard(events: list[Event], failovers: Sequence[Window]) -> list[Event]:
    """The same, but for outcomes that a lost primary told a submitter who was still waiting for its answer.

    He hands such an outcome on when his submit returns, by then from the heir: he heard it in the window.
    """
    if not failovers:
        return events
    told: dict[tuple[str, Outcome | None], list[Event]] = defaultdict(list)
    accepted_s: dict[tuple[str, str], float] = {}
    for event in events:
        if event.what is What.TOLD:
            told[event.job, event.outcome].append(event)
        if event.what is What.ACCEPTED:
            accepted_s[event.job, event.by] = event.at_s

    def heard_in(event: Event, window: Window) -> bool:
        answered_s = accepted_s.get((event.job, event.by), -math.inf)
        return window.ended_s < answered_s <= event.at_s and any(
            window.holds(each) for each in told[event.job, event.outcome]
        )

    heard = []
    for event in events:
        windows = [each for each in failovers if event.what is What.SEEN and heard_in(event, each)]
        heard.append(replace(event, at_s=windows[-1].ended_s) if windows else event)
    return heard


def _histories(events: Sequence[Event], failovers: Sequence[Window]) -> Iterator[tuple[list[Event], float]]:
    """What has to be consistent in itself, and its end: all that lasted, and what each lost primary said."""
    lasting = [event for event in events if not any(each.holds(event) for each in failovers)]
    yield lasting, math.inf
    for window in failovers:
        before = [event for event in lasting if event.what is not What.FINAL and event.at_s < window.began_s]
        yield before + [event for event in events if window.holds(event)], window.ended_s


def _judge_history(
    history: Sequence[Event],
    past: Mapping[str, Sequence[Outcome]],
    redrives: Counter[str],
    verdict: Verdict,
) -> None:
    outcomes: dict[str, dict[Outcome, What]] = defaultdict(dict)
    announced: Counter[tuple[str, str]] = Counter()
    for event in history:
        if event.what is What.TOLD:
            announced[event.by, event.job] += 1
        if event.outcome is not None:
            outcomes[event.job].setdefault(event.outcome, event.what)
    finals = {event.job: event.outcome for event in history if event.what is What.FINAL}
    for (channel, job), count in announced.items():
        # Where the end is not known, each redrive may have opened a run.
        runs = 1 + (len(past.get(job, ())) if job in finals else redrives[job])
        if count > runs:
            verdict.duplicated.append(f"{job} was announced {count} times on {channel} in {runs} runs")
    for job, known in outcomes.items():
        right: set[Outcome | None] = {*past.get(job, ()), finals.get(job)}
        strange = [outcome for outcome in known if outcome not in right]
        if strange if job in finals else len(strange) > 1 + redrives[job]:
            sightings = ", ".join(f"{what} {outcome}" for outcome, what in known.items())
            verdict.overwritten.append(f"{job}: {sightings}")


def _judge_redrives(
    events: Iterable[Event],
    failovers: Sequence[Window],
    past: Mapping[str, Sequence[Outcome]],
    verdict: Verdict,
) -> None:
    meant, told = Counter[str](), Counter[str]()
    for event in events:
        if event.what is What.REDRIVING:
            meant[event.job] += 1
        if event.what is What.REDRIVEN and not any(each.holds(event) for each in failovers):
            told[event.job] += 1
    for job in {*meant, *past}:
        runs = len(past.get(job, ()))
        if runs > meant[job]:
            verdict.unexpected.append(f"{job} had {runs} more runs, and {meant[job]} were asked for")
        if runs < told[job]:
            verdict.lost.append(f"{job} was to have {told[job]} more runs, and had {runs}")


def _judge_beginnings(wanted: Mapping[str, Wanted], events: Sequence[Event], verdict: Verdict) -> None:
    submitted_s = _first_s(events, What.SUBMITTED)
    hurried_s = _first_s(events, What.HURRIED)
    for event in events:
        is_hurried = event.at_s >= hurried_s.get(event.job, math.inf)
        if event.what is What.BEGAN and event.job in submitted_s and not is_hurried:
            early_s = submitted_s[event.job] + wanted[event.job].delay_s - event.at_s
            if early_s > ROUNDING_S:
                verdict.early.append(f"{event.job} began {early_s:.3f} s before its time")


def _first_s(events: Sequence[Event], what: What) -> dict[str, float]:
    found: dict[str, float] = {}
    for event in events:
        if event.what is what:
            found[event.job] = min(event.at_s, found.get(event.job, event.at_s))
    return found


def _judge_attempts(events: Sequence[Event], verdict: Verdict) -> None:
    redriven = {event.job for event in events if event.what is What.REDRIVING}  # these count anew
    began: dict[tuple[str, str], set[str]] = defaultdict(set)
    for event in events:
        if event.what is What.BEGAN and event.job not in redriven:
            began[event.job, event.detail].add(event.by)
    for (job, attempt), places in began.items():
        if len(places) > 1:
            verdict.repeated.append(f"attempt {attempt} of {job} began in {', '.join(sorted(places))}")


def _judge_fate(job: str, fate: set[What], verdict: Verdict, *, is_adrift: bool) -> None:
    is_alive = bool(fate & {What.BEGAN, What.SEEN, What.TOLD, What.FINAL})
    if What.ACCEPTED in fate:
        verdict.accepted += 1
        if What.FINAL not in fate or What.MISSING in fate:
            verdict.lost.append(f"{job} was accepted and cannot be found: {_listed(fate)}")
    elif is_alive and What.SUBMITTED not in fate:
        verdict.unexpected.append(f"{job} was never submitted: {_listed(fate)}")
    elif is_alive and What.JOINED in fate and (What.FINAL in fate or not is_adrift):
        verdict.unexpected.append(f"{job} was to be another job: {_listed(fate)}")
    elif is_alive and What.REFUSED in fate and What.UNKNOWN not in fate:
        verdict.unexpected.append(f"{job} was refused: {_listed(fate)}")
    elif What.FINAL in fate:
        verdict.recovered.append(job)
    elif is_alive and is_adrift:
        verdict.undone.append(job)
    elif is_alive:
        verdict.lost.append(f"{job} was in the queue and has no outcome: {_listed(fate)}")


def _judge_outcome(job: str, wanted: Wanted, outcome: Outcome, verdict: Verdict) -> None:
    if outcome.state == "succeeded" and outcome.value != wanted.result:
        verdict.crossed.append(f"{job} has {outcome.value!r}, and not {wanted.result!r}")
    elif outcome.ending not in wanted.endings:
        verdict.wrong.append(f"{job} is {outcome}, and may be {sorted(wanted.endings)}")


def _listed(fate: set[What]) -> str:
    return ", ".join(sorted(fate))
