"""The shape of a scenario: its cells, how one is measured, and what is said about the results.

Rule: `measure` runs in the producer's process, the rest in the one that prints. A scenario checks every
result, and knows contenders only by name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from benchmarks.contenders import OURS, PEERS
from benchmarks.workload import check, payload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from benchmarks.cell import Cell, Figures
    from benchmarks.contenders.contract import Outcome, Producer
    from benchmarks.gauges import Gauges
    from benchmarks.measured import Results
    from benchmarks.report import Column, Verdict
    from benchmarks.workload import Payload

__all__ = ["Scenario", "checked", "payloads_for", "warm_up", "with_peers"]

CALIBRATION_JOBS = 500
CALIBRATION_S = 0.15
MOST_JOBS = 150_000
WARM_UP_JOBS = 64


class Scenario(ABC):
    """One question, asked of several contenders."""

    name: ClassVar[str]
    title: ClassVar[str]
    columns: ClassVar[Sequence[Column]]

    @abstractmethod
    def cells(self, seconds: float) -> list[Cell]:
        """What to run in each repetition, in this order."""

    @abstractmethod
    def measure(self, producer: Producer, cell: Cell, gauges: Gauges) -> Figures:
        """Run one cell from its producer."""

    @abstractmethod
    def verdicts(self, results: Results) -> list[Verdict]:
        """Each target and whether it was met."""


def with_peers(cell: Cell, *contenders: str) -> list[Cell]:
    """The cell for each of the contenders, microbatch and every peer."""
    return [cell.of(name) for name in (*contenders, OURS, *PEERS)]


def warm_up(producer: Producer) -> None:
    """Have every connection open, every script loaded and every worker awake."""
    answers = producer.run_all([payload(number) for number in range(WARM_UP_JOBS)])
    check(enumerate(answers))


def payloads_for(seconds: float, run: Callable[[Sequence[Payload]], float]) -> list[Payload]:
    """As many payloads as `run`, which returns the seconds that it took, will be busy with that long."""
    count = CALIBRATION_JOBS
    while True:
        took_s = run([payload(number) for number in range(count)])
        if took_s >= CALIBRATION_S or count >= MOST_JOBS:
            break
        count *= 4
    wanted = int(count / took_s * seconds)
    return [payload(number) for number in range(max(CALIBRATION_JOBS, min(wanted, MOST_JOBS)))]


def checked(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """The outcomes, every one of which was looked at."""
    found = list(outcomes)
    check((each.number, each.answer) for each in found)
    return found
