"""A cell: one contender in one scenario, once; and what was measured in it.

Rule: a cell is plain data that travels to the child processes as JSON; whatever a role needs to know is in
it. It never names a process, a server or a file.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import Self

__all__ = ["Cell", "Figures", "Site"]

Figures = dict[str, float]
"""What one cell measured, by name; the unit is the end of the name. Absent: it cannot be measured here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """What is to be run.

    Attributes:
        scenario: Whose measuring it is.
        contender: Who is measured.
        label: Its row in the table.
        seconds: How long to measure.
        max_batch_size: The most jobs of a call, where the contender batches.
        max_wait_ms: How long a job may wait for company, where the contender can wait.
        concurrency: Batches in flight, where the contender can be told.
        batching: How microbatch forms batches, `fixed` or `adaptive`.
        costs: Whether a call of the processor takes the device's time, or none.
        processes: Worker processes; 0 where the scenario only submits.
        workers: Workers in each of them.
        rate: Jobs per second that arrive, where arrivals do not wait for results.
    """

    scenario: str
    contender: str
    label: str
    seconds: float
    max_batch_size: int = 100
    max_wait_ms: float = 5.0
    concurrency: int = 2
    batching: str = "fixed"
    costs: bool = False
    processes: int = 1
    workers: int = 1
    rate: float = 0.0

    def of(self, contender: str) -> Self:
        """The same cell for another contender."""
        return replace(self, contender=contender, label=contender)


@dataclass(frozen=True, slots=True)
class Site:
    """Where a cell takes place, for one of its child processes."""

    url: str
    cell: Cell
    worker_pids: tuple[int, ...] = ()

    def to_json(self) -> str:
        """What `from_json` reads."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote."""
        fields = json.loads(text)
        return cls(fields["url"], Cell(**fields["cell"]), tuple(fields["worker_pids"]))
