"""What a run measured: every cell of every repetition, and medians and ratios over them.

Rule: a ratio is taken within one repetition, whose cells ran right after each other, and its median over the
repetitions is what counts. A cell that failed is kept with its reason and never counted as a number.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.cell import Cell, Figures

__all__ = ["Measured", "Results"]


@dataclass(frozen=True, slots=True)
class Measured:
    """One cell, once.

    Attributes:
        figures: Empty where it failed.
        runs_on: The producer's event loop.
        failure: Why there are no figures; empty where there are.
    """

    figures: Figures
    runs_on: str = ""
    failure: str = ""


@dataclass(slots=True)
class Results:
    """All cells of one scenario, by label, in the order of the repetitions."""

    cells: list[Cell]
    measured: dict[str, list[Measured]] = field(default_factory=dict)

    def add(self, cell: Cell, measured: Measured) -> None:
        """Keep what one cell measured."""
        self.measured.setdefault(cell.label, []).append(measured)

    def values(self, label: str, name: str) -> list[float]:
        """That figure in every repetition that has it."""
        return [each.figures[name] for each in self.measured.get(label, ()) if name in each.figures]

    def median(self, label: str, name: str) -> float | None:
        """Its median; None where no repetition has it."""
        values = self.values(label, name)
        return median(values) if values else None

    def ratio(self, name: str, label: str, base: str) -> float | None:
        """The median ratio of two labels' figures; None where no repetition has both."""
        ratios = [
            one.figures[name] / other.figures[name]
            for one, other in zip(self.measured.get(label, ()), self.measured.get(base, ()), strict=False)
            if name in one.figures and other.figures.get(name)
        ]
        return median(ratios) if ratios else None

    def runs_on(self, label: str) -> str:
        """The event loop of a label's producer."""
        return next((each.runs_on for each in self.measured.get(label, ()) if each.runs_on), "-")

    def failures(self) -> Iterator[tuple[str, str]]:
        """Label and reason of each cell that failed."""
        for label, repetitions in self.measured.items():
            for each in repetitions:
                if each.failure:
                    yield label, each.failure
