"""From journals and ends to a verdict and a table. Pure but for reading the journals."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.chaos.history import Event, Verdict, What, judge
from tests.chaos.run.journal import ODD
from tests.chaos.run.workload import task, wanted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tests.chaos.history import Outcome, Wanted, Window
    from tests.chaos.run.journal import Line
    from tests.chaos.run.unit import End
    from tests.chaos.run.workload import Landed

__all__ = ["Reckoning", "quantile", "reckon", "recovery_times"]

_ALWAYS_RIGHT = {9, 69}  # a crashing processor; no Redis at the start
_RIGHT_CODES = {
    "kill": {-9},
    "term": {0, 75, -15},  # -15: before its handlers were there
    "stop": {0, 75, -15, -9},
}


@dataclass(slots=True)
class Reckoning:
    """What a run came to."""

    verdict: Verdict
    events: Counter[str]
    odd: list[str] = field(default_factory=list)
    recovery_s: list[float] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        return not self.verdict.violations and not self.odd


def reckon(
    seed: int,
    lines: Sequence[Line],
    records: Mapping[str, tuple[Outcome, float]],
    ends: Iterable[End],
    landed: Landed,
    failovers: Sequence[Window] = (),
) -> Reckoning:
    """Judge a run.

    Args:
        seed: What its jobs were made from.
        lines: Every journal's.
        records: What the records say in the end, and since when.
        ends: How its processes ended.
        landed: What may be expected by now.
        failovers: What may have been undone.
    """
    events = [event for line in lines if (event := line.event()) is not None]
    events += [Event(What.FINAL, job, outcome=outcome) for job, (outcome, _) in records.items()]
    submitted = {event.job for event in events if event.what is What.SUBMITTED}
    verdict = judge({job: _wanted(seed, job, landed) for job in submitted}, events, failovers)
    ends = list(ends)
    odd = [f"{line.by}: {line.job}" for line in lines if line.what == ODD]
    odd += [
        f"{end.unit} (process {end.pid}) ended with {end.code} by {', '.join(end.causes) or 'itself'}"
        for end in ends
        if end.code not in _ALWAYS_RIGHT.union(*(_RIGHT_CODES[cause] for cause in end.causes))
    ]
    return Reckoning(
        verdict, Counter(event.what.value for event in events), odd, recovery_times(lines, records, ends)
    )


def _wanted(seed: int, job_id: str, landed: Landed) -> Wanted:
    generation, number, _ = job_id.partition("/")[2].split("-")
    return wanted(task(seed, int(generation), int(number)), landed)


def recovery_times(
    lines: Iterable[Line], records: Mapping[str, tuple[Outcome, float]], ends: Iterable[End]
) -> list[float]:
    """For each job that lost its worker: how long from that worker's last death until the job's end."""
    died_s = {f"worker-{end.pid}": end.at_s for end in ends if end.unit.startswith("worker")}
    victims: dict[str, float] = defaultdict(float)
    for line in lines:
        death_s = died_s.get(line.by)
        if line.what != What.BEGAN or death_s is None or line.job not in records:
            continue
        if records[line.job][1] > death_s:
            victims[line.job] = max(victims[line.job], death_s)
    return sorted(records[job][1] - death_s for job, death_s in victims.items())


def quantile(sorted_values: Sequence[float], share: float) -> float:
    """The value below which that share of them is; 0 where there are none."""
    return (
        sorted_values[min(len(sorted_values) - 1, int(share * len(sorted_values)))] if sorted_values else 0.0
    )
