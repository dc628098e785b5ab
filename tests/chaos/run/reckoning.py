"""From journals, records and ends to a verdict. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from tests.chaos.history import Event, Verdict, What, judge
from tests.chaos.letters import letter_faults
from tests.chaos.orders import orders_of
from tests.chaos.purges import purge_faults, purged
from tests.chaos.rivals import Hold, rivals
from tests.chaos.run.journal import ACT, ODD, QUITS
from tests.chaos.run.recurring import Recurring, strangers
from tests.chaos.run.workload import RUN_OFTEN, task, wanted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tests.chaos.history import Wanted, Window
    from tests.chaos.run.journal import Line
    from tests.chaos.run.observer import Record
    from tests.chaos.run.unit import End
    from tests.chaos.run.workload import Landed, Task

__all__ = ["Evidence", "Reckoning", "quantile", "reckon", "recovery_times"]

_ALWAYS_RIGHT = {9, 69}  # a crashing processor; no Redis at the start
_RIGHT_CODES = {
    "kill": {-9},
    "term": {0, 75, -15},  # -15: before its handlers were there
    "freeze": {75},  # a call in a thread that was frozen too has taken too long
    "hang": {75},  # nothing but a restart ends such a call
    "ordered": {0, 75},  # an operator told it to leave
    "stop": {0, 75, -15, -9},
}


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a run left behind.

    Attributes:
        lines: Every journal's.
        records: What the records say in the end, of the jobs that are final.
        letters: The ids of the dead letters that each job has.
        ends: How its processes ended.
        failovers: What may have been undone.
        ticks_ms: From when until when every tick has to have had its job; None: there are no ticks.
    """

    lines: Sequence[Line]
    records: Mapping[str, Record]
    letters: Mapping[str, Sequence[str]] = field(default_factory=dict)
    ends: Sequence[End] = ()
    failovers: Sequence[Window] = ()
    ticks_ms: tuple[int, int] | None = None


@dataclass(slots=True)
class Reckoning:
    """What a run came to."""

    verdict: Verdict
    events: Counter[str]
    odd: list[str] = field(default_factory=list)
    recovery_s: list[float] = field(default_factory=list)
    ticks: int = 0
    acts: Counter[str] = field(default_factory=Counter)

    @property
    def is_good(self) -> bool:
        return not self.verdict.violations and not self.odd


def reckon(seed: int, landed: Landed, evidence: Evidence) -> Reckoning:
    """Judge a run.

    Args:
        seed: What its jobs were made from.
        landed: What may be expected by now.
        evidence: What it left behind.
    """
    records = evidence.records
    events = [event for line in evidence.lines if (event := line.event()) is not None]
    counts = Counter(event.what.value for event in events)
    tasks = {event.job: _task(seed, event.job) for event in events if event.what is What.SUBMITTED}
    expected: dict[str, Wanted] = {job: wanted(one, landed) for job, one in tasks.items()}
    orders = orders_of(evidence.lines, evidence.failovers)
    recurring = Recurring()
    if evidence.ticks_ms:
        recurring.tick(evidence.ticks_ms)
    victims = purged(orders, records, events, evidence.failovers)
    recurring.tick_as_ordered(orders, evidence.failovers)
    recurring.run_now(orders, strangers(events, {*expected, *recurring.expected}))
    events += recurring.events
    expected |= recurring.expected
    events += [Event(What.FINAL, job, outcome=record.outcome) for job, record in records.items()]
    cancellable = {job for job, one in expected.items() if "cancelled" in one.endings}
    for job in victims & expected.keys():
        expected[job] = replace(expected[job], endings=expected[job].endings | {"cancelled"})
    past = {job: [outcome for outcome, _ in record.past] for job, record in records.items() if record.past}
    verdict = judge(expected, events, evidence.failovers, past)
    verdict.purged += purge_faults(
        orders, records, events, cancellable, evidence.failovers, recurring.ticks_s
    )
    keys = {job: _key(one) for job, one in tasks.items() if "unique_key" in one.options}
    holds = {job: _hold(tasks[job], records[job]) for job in keys if job in records}
    verdict.rivals += rivals(keys, holds, events, evidence.failovers)
    odd = [f"{line.by}: {line.job}" for line in evidence.lines if line.what == ODD]
    odd += [*_wrong_ends(evidence), *letter_faults(records, evidence.letters, orders), *recurring.nonsense]
    times = recovery_times(evidence.lines, records, evidence.ends)
    acts = Counter(line.job for line in evidence.lines if line.what == ACT)
    return Reckoning(verdict, counts, odd, times, recurring.needed, acts)


def _task(seed: int, job: str) -> Task:
    generation, number, _ = job.partition("/")[2].split("-")
    return task(seed, int(generation), int(number))


def _key(one: Task) -> str:
    return f"{one.options['unique_key']} of {one.queue}"  # each queue has keys of its own


def _hold(one: Task, record: Record) -> Hold:
    """A job's time with its key: that of its first run, because another one asks for no key."""
    outcome, until_s = record.past[0] if record.past else (record.outcome, record.ended_s)
    if outcome.state == "succeeded":
        until_s = max(until_s, record.accepted_s + (one.options["unique_for_s"] or 0.0))
    return Hold(_key(one), record.accepted_s, until_s, bool(record.past))


def _wrong_ends(evidence: Evidence) -> list[str]:
    hung = {line.by for line in evidence.lines if line.what == What.BEGAN and line.job.endswith("-hang")}
    ordered = {line.job for line in evidence.lines if line.what == QUITS}
    return [
        f"{end.unit} (process {end.pid}) ended with {end.code} by {', '.join(end.causes) or 'itself'}"
        for end in evidence.ends
        if end.code
        not in _ALWAYS_RIGHT.union(
            *(_RIGHT_CODES[cause] for cause in end.causes),
            _RIGHT_CODES["hang"] if f"worker-{end.pid}" in hung else (),
            _RIGHT_CODES["ordered"] if f"worker-{end.pid}" in ordered else (),
        )
    ]


def recovery_times(lines: Iterable[Line], records: Mapping[str, Record], ends: Iterable[End]) -> list[float]:
    """For each job that lost its worker: how long from that worker's last death until the job's end.

    Without those that ask for several runs anyway: what they wait for may be the next one of these.
    """
    died_s = {f"worker-{end.pid}": end.at_s for end in ends if end.unit.startswith("worker")}
    victims: dict[tuple[str, float], float] = defaultdict(float)
    for line in lines:
        death_s = died_s.get(line.by)
        if (
            line.what != What.BEGAN
            or death_s is None
            or line.job not in records
            or line.job.endswith(RUN_OFTEN)
        ):
            continue
        record = records[line.job]
        # A job that an operator gave another run has several ends: that of the run that began here counts.
        ends_s = (*(at_s for _, at_s in record.past), record.ended_s)
        ended_s = min((at_s for at_s in ends_s if at_s > line.at_s), default=0.0)
        if ended_s > death_s:
            run = line.job, ended_s
            victims[run] = max(victims[run], death_s)
    return sorted(ended_s - death_s for (_, ended_s), death_s in victims.items())


def quantile(sorted_values: Sequence[float], share: float) -> float:
    """The value below which that share of them is; 0 where there are none."""
    return (
        sorted_values[min(len(sorted_values) - 1, int(share * len(sorted_values)))] if sorted_values else 0.0
    )
