"""How far a long command is: a bar on a terminal, now and then a line elsewhere.

Rule: progress goes to stderr and never mixes with results on the same terminal. `rich` draws the bar where
it is installed; without it there are lines, and nothing else changes.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

from microbatch.console.terminal import complain

__all__ = ["Advance", "progress"]

Advance = Callable[[int, int, int], None]
"""Told after each job: bytes of the input that are done, jobs that are, and how many have no result."""

LINE_INTERVAL_S = 10.0


@contextlib.contextmanager
def progress(prog: str, *, total_bytes: int | None, results_on_stdout: bool) -> Iterator[Advance]:
    """Show progress inside the block."""
    if sys.stderr.isatty() and not (results_on_stdout and sys.stdout.isatty()):
        try:
            import rich  # noqa: F401, PLC0415 - the `cli` extra
        except ImportError:
            pass
        else:
            with _bar(total_bytes) as advance:
                yield advance
            return
    yield _lines(prog, total_bytes)


def _lines(prog: str, total_bytes: int | None) -> Advance:
    told_s = time.monotonic()

    def advance(done_bytes: int, done: int, failed: int) -> None:
        nonlocal told_s
        if time.monotonic() - told_s >= LINE_INTERVAL_S:
            told_s = time.monotonic()
            share = f" ({done_bytes / total_bytes:.0%})" if total_bytes else ""
            complain(prog, f"{done:,} done{share}, {failed:,} without a result")

    return advance


@contextlib.contextmanager
def _bar(total_bytes: int | None) -> Iterator[Advance]:
    from rich.console import Console  # noqa: PLC0415 - the `cli` extra
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    columns = (
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[done]:,} done, {task.fields[failed]:,} without a result"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as shown:
        task = shown.add_task("", total=total_bytes, done=0, failed=0)
        yield lambda done_bytes, done, failed: shown.update(
            task, completed=done_bytes, done=done, failed=failed
        )
