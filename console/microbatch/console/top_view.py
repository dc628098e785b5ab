"""The live view of `microbatch top`: one survey on one screen, whatever its size, by rich.

Rule: nothing wraps and nothing runs over the edge. What is too wide is cut with an ellipsis, narrow screens
have fewer columns, and where there is more than fits, the busiest queues, the newest errors and a count of
the rest are shown. It decides nothing: times, rates and states are the survey's.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from microbatch.console.status_command import age
from microbatch.console.terminal import escaped

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console, RenderableType

    from microbatch.console.survey import ErrorRow, QueueRow, Survey, WorkerRow

__all__ = ["view"]

LEAST_NAME = 12
_QUEUES = {"QUEUE": 0, "WAITING": 1, "RUNNING": 6, "LATER": 9, "WORKERS": 8, "JOBS/S": 2, "FILL": 5, "P95": 4}
_QUEUES |= {"OLDEST": 3, "DEAD": 7}
_WORKERS = {"WORKER": 0, "STATE": 1, "BATCHES": 4, "JOBS": 3, "BEAT": 2, "QUEUES": 5}
_ERRORS = {"AT": 2, "JOB": 1, "ERROR": 0}
"""The columns, and in which order they give way on a narrow screen: the highest number first."""

_NAMES = {"QUEUE": 1, "WORKER": 1, "QUEUES": 1, "JOB": 1, "ERROR": 2}
"""Columns that may be cut, and how they share what the others leave."""

_WORDS = ("STATE", "AT")
_STYLES = {"silent": "red", "stuck": "red", "lost": "red", "aside": "yellow", "working": "green"}

Cell = tuple[str, str]
"""What is in a cell, and its style."""


def view(survey: Survey, console: Console, *, seen_at: datetime, trouble: str = "") -> RenderableType:
    """One screen.

    Args:
        survey: What to show.
        console: Where; its size decides how much.
        seen_at: When it was looked at.
        trouble: Why it could not be looked at since then; empty where it could.
    """
    rows = max(6, console.height - 7)  # without the first line, titles and the lines between
    spare = rows - len(survey.queues) - len(survey.workers)
    errors = survey.errors[: max(rows // 4, spare)]
    left = rows - len(errors)
    most_workers = max(left // 2, left - len(survey.queues))
    workers = sorted(survey.workers, key=lambda row: row.state != "silent")[: max(1, most_workers)]
    queues = _busiest(survey.queues, max(1, left - len(workers)))
    parts: list[RenderableType] = [_headline(survey, console, seen_at, trouble)]
    parts.append(_table(console, _QUEUES, [_queue_cells(row) for row in queues]))
    parts.append(_rest(len(survey.queues) - len(queues), "queues"))
    parts.append(_table(console, _WORKERS, [_worker_cells(row) for row in workers]))
    parts.append(_rest(len(survey.workers) - len(workers), "workers"))
    if errors:
        parts.append(_table(console, _ERRORS, [_error_cells(row) for row in errors]))
    return Group(*parts)


def _headline(survey: Survey, console: Console, seen_at: datetime, trouble: str) -> Text:
    moment = f"{seen_at.astimezone(UTC):%H:%M:%S}Z"
    if trouble:
        return _line(f"as of {moment}: {escaped(trouble)}", "bold red", console)
    silent = sum(row.state == "silent" for row in survey.workers)
    alarm = f" ({silent} silent)" if silent else ""
    here = sum(row.state != "lost" for row in survey.workers)
    said = f"{moment}  queues: {len(survey.queues)}  workers: {here}{alarm}"
    return _line(said, "bold red" if silent else "bold", console)


def _line(text: str, style: str, console: Console) -> Text:
    line = Text(text, style=style, no_wrap=True, overflow="ellipsis")
    line.truncate(console.width, overflow="ellipsis")
    return line


def _rest(number: int, what: str) -> Text:
    return Text(f"... and {number} more {what}" if number > 0 else "", style="dim")


def _busiest(queues: Sequence[QueueRow], most: int) -> Sequence[QueueRow]:
    if len(queues) <= most:
        return queues
    ranked = sorted(queues, key=lambda row: (row.waiting + row.running, row.jobs_per_s), reverse=True)
    return sorted(ranked[:most], key=lambda row: row.queue)


def _queue_cells(row: QueueRow) -> dict[str, Cell]:
    alone = row.waiting > 0 and row.workers == 0
    return {
        "QUEUE": (row.queue, "bold"),
        "WAITING": (f"{row.waiting:,}", "red" if alone else ""),
        "RUNNING": (f"{row.running:,}", ""),
        "LATER": (f"{row.scheduled:,}", ""),
        "WORKERS": (f"{row.workers:,}", "red" if alone else ""),
        "JOBS/S": (f"{row.jobs_per_s:,.1f}", ""),
        "FILL": ("-" if row.fill is None else f"{row.fill:.0%}", ""),
        "P95": ("-" if row.p95_ms is None else f"{row.p95_ms} ms", ""),
        "OLDEST": (age(row.oldest_age_s) or "-", "red" if alone else ""),
        "DEAD": (f"{row.dead:,}", "yellow" if row.dead else ""),
    }


def _worker_cells(row: WorkerRow) -> dict[str, Cell]:
    return {
        "WORKER": (row.worker, ""),
        "STATE": (row.state, _STYLES.get(row.state, "")),
        "BATCHES": (str(row.batches), ""),
        "JOBS": (f"{row.jobs:,}", ""),
        "BEAT": (f"{row.silent_s:.1f} s", "red" if row.state == "silent" else ""),
        "QUEUES": (", ".join(row.queues), ""),
    }


def _error_cells(row: ErrorRow) -> dict[str, Cell]:
    return {
        "AT": ("-" if row.at is None else f"{row.at:%H:%M:%S}Z", "dim"),
        "JOB": (row.job_id or f"{row.queue}/?", ""),
        "ERROR": (f"{row.type}: {row.message}", "yellow"),
    }


def _table(console: Console, columns: Mapping[str, int], rows: Sequence[Mapping[str, Cell]]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1), header_style="dim")
    widths = {title: max([len(title), *(len(row[title][0]) for row in rows)]) for title in columns}
    titles = list(columns)
    while len(titles) > 1 and _width(titles, widths) > console.width:
        titles.remove(max(titles, key=lambda title: columns[title]))
    for title in titles:
        name = title in _NAMES
        table.add_column(
            title,
            justify="left" if name or title in _WORDS else "right",
            no_wrap=True,
            overflow="ellipsis",
            ratio=_NAMES.get(title),
        )
    for row in rows:
        table.add_row(*(Text(escaped(text), style=style) for text, style in (row[title] for title in titles)))
    # Where it is tight the columns of names share what the others leave.
    table.expand = sum(widths[title] + 2 for title in titles) > console.width
    return table


def _width(titles: Sequence[str], widths: Mapping[str, int]) -> int:
    """The least that these columns take: names may be cut, numbers may not."""
    return sum(min(widths[title], LEAST_NAME if title in _NAMES else 1_000) + 2 for title in titles) - 2
