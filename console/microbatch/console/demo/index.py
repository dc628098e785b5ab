"""The index: one SQLite file with a full-text index (FTS5), which every worker of a pass writes.

Rule: one transaction per batch, and a job that comes again (workers may run a job twice when one of them
dies) adds nothing: its id is unique and its first row is its answer. Every commit is on disk when it returns
(`synchronous=FULL`), as it would be for data that somebody needs; that is the price that batching shares.
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

__all__ = ["Entry", "Found", "Hit", "Index", "IndexUnavailable", "Row"]

_BUSY_TIMEOUT_S = 30.0
_SNIPPET_TOKENS = 16
_SCHEMA = (
    "CREATE TABLE jobs (row INTEGER PRIMARY KEY, job_id TEXT NOT NULL UNIQUE, tokens INTEGER NOT NULL)",
    "CREATE TABLE batches (batch_id TEXT PRIMARY KEY, size INTEGER NOT NULL, reason TEXT NOT NULL)",
    "CREATE VIRTUAL TABLE texts USING fts5(name, body)",
)


class IndexUnavailable(Exception):
    """This Python's SQLite has no FTS5."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What a job adds.

    Attributes:
        job_id: The job's full id.
        name: Whose docstring it is.
        body: The docstring, cleaned.
        tokens: How many words it has.
    """

    job_id: str
    name: str
    body: str
    tokens: int


@dataclass(frozen=True, slots=True)
class Row:
    """What the index holds of a job. `name` is that of the text, so that a row under a wrong id shows."""

    row: int
    job_id: str
    name: str


@dataclass(frozen=True, slots=True)
class Hit:
    """One answer of a search: whose docstring, and the words around the match, which are in brackets."""

    name: str
    snippet: str


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found.

    Attributes:
        total: How many docstrings match.
        hits: The best of them, best first.
    """

    total: int
    hits: tuple[Hit, ...]


class Index:
    """A connection to the file; for one thread. Usable as a context manager.

    Args:
        path: The file; `create` makes it.
    """

    def __init__(self, path: Path) -> None:
        # Opened by URI, because connect() would otherwise make an empty file where `create` was forgotten.
        self._database = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=_BUSY_TIMEOUT_S, isolation_level=None
        )
        self._database.execute("PRAGMA synchronous = FULL")

    @classmethod
    def create(cls, path: Path) -> None:
        """Make a file with an empty index.

        Raises:
            IndexUnavailable: SQLite was built without FTS5.
        """
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
            database.execute("PRAGMA journal_mode = WAL")
            try:
                for statement in _SCHEMA:
                    database.execute(statement)
            except sqlite3.OperationalError as error:
                if "fts5" not in str(error):
                    raise
                raise IndexUnavailable(
                    f"this Python's SQLite ({sqlite3.sqlite_version}) has no full-text index (FTS5)"
                ) from error

    def add(self, batch_id: str, reason: str, entries: Sequence[Entry]) -> dict[str, int]:
        """Add a batch in one transaction.

        Args:
            batch_id: Under which the batch is noted.
            reason: Why it was closed.
            entries: What its jobs add.

        Returns:
            The row of each job, by job id; the row of its first run where it ran before.
        """
        with self._transaction() as database:
            database.execute(
                "INSERT OR REPLACE INTO batches (batch_id, size, reason) VALUES (?, ?, ?)",
                (batch_id, len(entries), reason),
            )
            return {entry.job_id: self._add(database, entry) for entry in entries}

    def rows(self) -> list[Row]:
        """Every job that is in the index."""
        return [
            Row(*row)
            for row in self._database.execute(
                "SELECT row, job_id, coalesce(name, '') FROM jobs LEFT JOIN texts ON texts.rowid = row"
            )
        ]

    def batches(self) -> list[tuple[int, str]]:
        """Size and reason of every batch."""
        return list(self._database.execute("SELECT size, reason FROM batches"))

    def search(self, query: str, *, limit: int) -> Found:
        """Find the docstrings that have all the words of a query, best first (BM25).

        Args:
            query: Words; SQLite's own search syntax has no meaning here.
            limit: How many to return.
        """
        # Whatever FTS5 would read as syntax separates words anyway.
        words = " ".join(f'"{word}"' for word in re.findall(r"\w+", query))
        if not words:
            return Found(0, ())
        (total,) = self._database.execute(
            "SELECT count(*) FROM texts WHERE texts MATCH ?", (words,)
        ).fetchone()
        hits = self._database.execute(
            "SELECT name, snippet(texts, 1, '[', ']', ' ... ', ?) FROM texts WHERE texts MATCH ? "
            "ORDER BY bm25(texts), rowid LIMIT ?",
            (_SNIPPET_TOKENS, words, limit),
        )
        return Found(total, tuple(Hit(*hit) for hit in hits))

    def close(self) -> None:
        """Close the connection; the last one to do so folds the write-ahead log into the file."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        # IMMEDIATE: the other worker is waited for here, and not with a deadlock half-way.
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield self._database
            self._database.execute("COMMIT")
        except BaseException:
            self._database.rollback()
            raise

    @staticmethod
    def _add(database: sqlite3.Connection, entry: Entry) -> int:
        added = database.execute(
            "INSERT OR IGNORE INTO jobs (job_id, tokens) VALUES (?, ?)", (entry.job_id, entry.tokens)
        )
        if added.rowcount == 0:
            (row,) = database.execute("SELECT row FROM jobs WHERE job_id = ?", (entry.job_id,)).fetchone()
            return int(row)
        row = added.lastrowid
        database.execute(
            "INSERT INTO texts (rowid, name, body) VALUES (?, ?, ?)", (row, entry.name, entry.body)
        )
        return int(row or 0)
