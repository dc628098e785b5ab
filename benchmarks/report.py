"""The report: one markdown table of figures and one of targets per scenario.

Rule: it says what was measured and whether a target was met; it never turns that into an error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from benchmarks.measured import Results

__all__ = ["Column", "Verdict", "at_least", "at_most", "figures_table", "shown", "verdicts_table"]

_WHOLE_FROM, _ONE_DIGIT_FROM = 100.0, 10.0


@dataclass(frozen=True, slots=True)
class Column:
    """One figure of a table; `base` adds a column of ratios to that label."""

    heading: str
    name: str
    base: str = ""
    spread: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """One target and what came of it; `met` is None where it could not be measured."""

    target: str
    measured: str
    met: bool | None


def at_least(what: str, target: float, value: float | None, unit: str = "") -> Verdict:
    """A target that a figure should reach."""
    met = None if value is None else value >= target
    return Verdict(f"{what} at least {target:,g}{unit}", f"{shown(value)}{unit}", met)


def at_most(what: str, target: float, value: float | None, unit: str = "") -> Verdict:
    """A target that a figure should not exceed."""
    met = None if value is None else value <= target
    return Verdict(f"{what} at most {target:,g}{unit}", f"{shown(value)}{unit}", met)


def shown(value: float | None) -> str:
    """A figure with about three digits."""
    if value is None:
        return "-"
    if value >= _WHOLE_FROM:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= _ONE_DIGIT_FROM else f"{value:.2f}"


def figures_table(results: Results, columns: Sequence[Column]) -> Iterator[str]:
    """Medians over the repetitions, a row per label."""
    headings = ["contender", "loop"]
    for column in columns:
        headings += [column.heading, f"x {column.base}"] if column.base else [column.heading]
    yield from _head(headings)
    for label in dict.fromkeys(cell.label for cell in results.cells):
        row = [label, results.runs_on(label)]
        for column in columns:
            row.append(_spread(results, label, column))
            if column.base:
                row.append(shown(results.ratio(column.name, label, column.base)))
        yield f"| {' | '.join(row)} |"


def verdicts_table(verdicts: Iterable[Verdict]) -> Iterator[str]:
    """A row per target."""
    yield from _head(["target", "measured", "met"])
    for verdict in verdicts:
        met = {None: "not measured", True: "yes", False: "no"}[verdict.met]
        yield f"| {verdict.target} | {verdict.measured} | {met} |"


def _spread(results: Results, label: str, column: Column) -> str:
    text = shown(results.median(label, column.name))
    values = results.values(label, column.name)
    if column.spread and len(values) > 1:
        text += f" ({shown(min(values))}..{shown(max(values))})"
    return text


def _head(headings: Sequence[str]) -> Iterator[str]:
    yield f"| {' | '.join(headings)} |"
    yield "|" + "---|" * len(headings)
