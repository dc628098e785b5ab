"""The demo from curtain to curtain: find the work, do it in batches, do it one at a time, ask the index.

Rule: both passes run on fresh files and a fresh server; they differ in `max_batch_size` and in nothing else
but how much of the work is done. Whatever happens, nothing is left running and nothing is left on disk but
what `keep` asks for.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from microbatch.console.demo import corpus
from microbatch.console.demo.index import Index
from microbatch.console.demo.interruption import Interruption
from microbatch.console.demo.processor import MAX_BATCH_SIZE
from microbatch.console.demo.stage import Stage
from microbatch.console.demo.summary import PassSummary, Summary, summarise

if TYPE_CHECKING:
    from microbatch.console.demo.corpus import Docstring
    from microbatch.console.demo.progress import Progress

__all__ = ["NoWork", "Wish", "play"]

_SINGLE_JOBS = 2_000
_HITS = 5
_INDEX = "index.sqlite"


class NoWork(Exception):
    """This Python came without the sources of its standard library."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user asked for.

    Attributes:
        query: What to search in the end.
        jobs: How many docstrings to take; None: all.
        keep: Where to leave the index and the summary; None: nowhere.
    """

    query: str
    jobs: int | None = None
    keep: Path | None = None


def play(wish: Wish, progress: Progress) -> Summary:
    """Run the whole demo.

    Raises:
        NoWork: There are no docstrings.
        IndexUnavailable: There is no full-text index.
        DemoFailed: A process of it ended before its time.
        Interrupted: A signal came; everything has been put away.
    """
    with Interruption() as interruption:
        performance = _Performance(wish, progress, interruption)
        try:
            return performance.run()
        finally:
            interruption.shield()
            performance.clear()


class _Performance:
    """One run, and what has to be cleared away after it."""

    def __init__(self, wish: Wish, progress: Progress, interruption: Interruption) -> None:
        self._wish = wish
        self._progress = progress
        self._interruption = interruption
        self._to_clear = ExitStack()

    def run(self) -> Summary:
        started_s = time.monotonic()
        if self._wish.keep is not None:
            self._wish.keep.mkdir(parents=True, exist_ok=True)  # now, and not after all the work
        with self._interruption.held():
            directory = Path(tempfile.mkdtemp(prefix="microbatch-demo-", dir=_disk()))
            self._to_clear.callback(shutil.rmtree, directory, ignore_errors=True)
        Index.create(directory / "probe")  # where there can be none, say so at once
        work = self._find_work()
        self._progress.say(
            "Two producers submit them one by one; two workers insert them, a transaction per batch."
        )
        batched = self._pass(directory / "batched", "in batches", work, MAX_BATCH_SIZE)
        single = self._pass(directory / "single", "one at a time", corpus.spread(work, _SINGLE_JOBS), 1)
        with Index(directory / "batched" / _INDEX) as index:
            found = index.search(self._wish.query, limit=_HITS)
        elapsed_s = round(time.monotonic() - started_s, 3)
        summary = Summary(
            batched=batched, single=single, query=self._wish.query, found=found, elapsed_s=elapsed_s
        )
        if self._wish.keep is not None:
            shutil.copyfile(directory / "batched" / _INDEX, self._wish.keep / _INDEX)
            (self._wish.keep / "summary.json").write_text(f"{json.dumps(summary.as_dict(), indent=2)}\n")
        return summary

    def clear(self) -> None:
        """Stop what runs and remove every file. Harmless when repeated."""
        self._to_clear.close()

    def _find_work(self) -> list[Docstring]:
        python = f"Python {sys.version_info.major}.{sys.version_info.minor}"
        self._progress.say(f"Reading the docstrings of {python}'s standard library ...")
        library, jobs = corpus.standard_library(), self._wish.jobs
        work = list(corpus.docstrings(library)) if jobs is None else corpus.sample(library, jobs)
        if not work:
            raise NoWork(f"no docstrings below {library}: this Python came without its sources")
        self._progress.say(f"{len(work):,} docstrings go into a full-text index (SQLite FTS5).")
        return work

    def _pass(self, directory: Path, label: str, work: list[Docstring], max_batch_size: int) -> PassSummary:
        directory.mkdir()
        docstrings = directory / "docstrings.jsonl"
        corpus.write(docstrings, work)
        Index.create(directory / _INDEX)
        stage = Stage(
            directory, index=directory / _INDEX, docstrings=docstrings, max_batch_size=max_batch_size
        )
        self._to_clear.callback(stage.stop)
        stage.start(self._interruption)
        with self._progress.counting(label, len(work)) as show:
            reports = stage.run(show)
        stage.leave()
        with Index(directory / _INDEX) as index:
            return summarise(
                reports,
                names=[docstring.name for docstring in work],
                rows=index.rows(),
                batches=index.batches(),
                max_batch_size=max_batch_size,
            )


def _disk() -> str | None:
    """Where to work: what the user chose, else a disk; `/tmp` may be memory, where a commit costs nothing."""
    chosen = any(os.environ.get(name) for name in ("TMPDIR", "TEMP", "TMP"))
    disk = "/var/tmp"  # noqa: S108 - mkdtemp makes a folder in it that is ours alone
    return disk if not chosen and os.access(disk, os.W_OK | os.X_OK) else None
