"""How far the demo is: a bar on a terminal, a line now and then elsewhere; on standard error.

Rule: standard output belongs to the summary. A terminal without `rich` gets the lines.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Progress"]

_LINE_INTERVAL_S = 2.0
_LABEL_WIDTH = 13


class Progress:
    """Tells on a stream.

    Args:
        stream: Where to.
        clock: Seconds that only grow; for tests.
    """

    def __init__(self, stream: TextIO, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock

    def say(self, text: str) -> None:
        """Tell something; an empty text is an empty line."""
        print(text, file=self._stream, flush=True)

    @contextlib.contextmanager
    def counting(self, label: str, total: int) -> Iterator[Callable[[int], None]]:
        """Show how many of `total` are done.

        Args:
            label: Of what.
            total: How many there are.

        Yields:
            What to call with the number that is done.
        """
        with self._bar(label, total) or self._lines(label, total) as show:
            yield show

    def _bar(self, label: str, total: int) -> contextlib.AbstractContextManager[Callable[[int], None]] | None:
        if not self._stream.isatty():
            return None
        try:
            from rich import console, progress  # noqa: PLC0415 - the `cli` extra
        except ImportError:
            return None

        @contextlib.contextmanager
        def bar() -> Iterator[Callable[[int], None]]:
            columns = (
                progress.TextColumn("{task.description}"),
                progress.BarColumn(),
                progress.MofNCompleteColumn(),
                progress.TimeElapsedColumn(),
            )
            with progress.Progress(*columns, console=console.Console(file=self._stream)) as shown:
                task = shown.add_task(f"{label:{_LABEL_WIDTH}}", total=total)
                yield lambda done: shown.update(task, completed=done)

        return bar()

    @contextlib.contextmanager
    def _lines(self, label: str, total: int) -> Iterator[Callable[[int], None]]:
        told_s = self._clock()
        told_done = 0

        def show(done: int) -> None:
            nonlocal told_s, told_done
            now_s = self._clock()
            if done != told_done and (done == total or now_s - told_s >= _LINE_INTERVAL_S):
                told_s, told_done = now_s, done
                self.say(f"{label}: {done:,} of {total:,}")

        yield show
