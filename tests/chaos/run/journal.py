"""What each process of a chaos run writes down: one line per event, in a file of its own.

Rule: a line is written with one `write` before anything else happens, so that a process that is killed has
said everything up to then. A torn last line is the mark of that death and is passed over.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.chaos.history import Event, Outcome, What
from tests.chaos.orders import ANSWERED, ASKED

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["ACT", "FOLDER_VARIABLE", "ODD", "QUITS", "Journal", "Line", "read_journals"]

FOLDER_VARIABLE = "CHAOS_FOLDER"
COUNT_EVERY_S = 1.0
ODD, ACT, QUITS = "odd", "act", "quits"
"""What is no event of a job: what nobody expects, what an operator has done, who was told to leave."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line, read back; `at_s` is the wall clock's time, which all processes and Redis share here."""

    at_s: float
    what: str
    job: str
    by: str
    outcome: Outcome | None
    detail: str = ""

    def event(self) -> Event | None:
        if self.what in {ODD, ACT, QUITS, ASKED, ANSWERED}:
            return None
        return Event(What(self.what), self.job, self.by, self.outcome, self.at_s, self.detail)


class Journal:
    """Appends to `<folder>/<writer>-<pid>.jsonl`."""

    def __init__(self, folder: Path, writer: str) -> None:
        self.by = f"{writer}-{os.getpid()}"
        self._counted_s = 0.0
        self._tasks = folder / f"{self.by}.tasks"
        self._file = os.open(folder / f"{self.by}.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def note(
        self,
        what: What,
        job: str,
        outcome: Outcome | None = None,
        *,
        by: str | None = None,
        detail: str = "",
    ) -> None:
        self._write(what.value, job, self.by if by is None else by, outcome, detail)

    def odd(self, text: str) -> None:
        """Note what nobody expected."""
        self._write(ODD, text, self.by, None)

    def act(self, name: str) -> None:
        """Note what an operator has done."""
        self._write(ACT, name, self.by, None)

    def asked(self, order: str, target: str, *words: str) -> None:
        """Note what an operator is about to ask for; see `orders.py`."""
        self._write(ASKED, order, self.by, None, " ".join((target, *words)))

    def answered(self, answer: str) -> None:
        """Note what an operator was told about what he asked for last."""
        self._write(ANSWERED, "", self.by, None, answer)

    def quits(self, worker: str) -> None:
        """Note that a worker, by its id, is about to be told to leave."""
        self._write(QUITS, f"worker-{worker.split(':')[1]}", self.by, None)

    def _write(self, what: str, job: str, by: str, outcome: Outcome | None, detail: str = "") -> None:
        ending = None if outcome is None else [outcome.state, outcome.value]
        os.write(self._file, json.dumps([time.time(), what, job, by, ending, detail]).encode() + b"\n")

    def count_tasks(self) -> None:
        """Say how many tasks the running loop has, for whoever looks for leaks."""
        if time.monotonic() - self._counted_s > COUNT_EVERY_S:
            self._counted_s = time.monotonic()
            self._tasks.write_text(str(len(asyncio.all_tasks())))

    def close(self) -> None:
        os.close(self._file)


def read_journals(folder: Path, pattern: str = "*.jsonl") -> Iterator[Line]:
    """Every line of every journal; the order between files means nothing."""
    for path in sorted(folder.glob(pattern)):
        for text in path.read_bytes().splitlines():
            try:
                at_s, what, job, by, ending, detail = json.loads(text)
            except ValueError:
                continue
            yield Line(at_s, what, job, by, None if ending is None else _outcome(*ending), detail)


def _outcome(state: str, value: Any) -> Outcome:
    return Outcome(state, value)
