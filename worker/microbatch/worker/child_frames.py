"""What a worker and its child processes say to each other: msgpack, each message behind its length.

Rule: payloads and results cross as they are in Redis, encoded; exceptions cross as the error that a record
holds, and as the wish for another run that was judged where the exception was. No object is ever pickled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import msgpack

from microbatch.common.jobs.entry import Entry
from microbatch.common.scripts import Outcome
from microbatch.worker.executor import Run
from microbatch.worker.retries import RetryRules, RetryWish, wish_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from microbatch.common.scripts import JobNote

__all__ = [
    "LENGTH_BYTES",
    "NOTES",
    "PARTS",
    "frame",
    "message",
    "read_entries",
    "read_outcomes",
    "read_run",
    "row_of_run",
    "rows_of",
    "rows_of_notes",
    "rows_of_outcomes",
]

LENGTH_BYTES = 4
NOTES = "notes"
PARTS = "parts"
"""The first value of a message that is no answer: what is said about jobs meanwhile, or results of some."""
_FIELDS = Entry.__slots__


def frame(*values: Any) -> bytes:
    """One message, with its length in front."""
    data: bytes = msgpack.packb(values)
    return len(data).to_bytes(LENGTH_BYTES, "big") + data


def message(data: bytes) -> list[Any]:
    """What `frame` was given; both ends are ours, so anything else is a bug."""
    return cast("list[Any]", msgpack.unpackb(data, strict_map_key=False))


def rows_of(entries: Sequence[Entry]) -> list[list[Any]]:
    """Entries as plain lists."""
    return [[getattr(entry, field) for field in _FIELDS] for entry in entries]


def read_entries(rows: Sequence[Sequence[Any]]) -> list[Entry]:
    """The entries that `rows_of` took apart."""
    entries = []
    for row in rows:
        entry = Entry("", "", "", b"", 0)
        for field, value in zip(_FIELDS, row, strict=True):
            setattr(entry, field, value)
        entries.append(entry)
    return entries


def rows_of_notes(notes: Sequence[JobNote]) -> list[list[Any]]:
    """What was said about jobs as plain lists."""
    return [[note.token, note.progress, list(note.lines)] for note in notes]


def row_of_run(run: Run, rules: RetryRules) -> list[Any]:
    """A run as plain values: what each job ended with, and what it wishes."""
    return [run.ending, rows_of_outcomes(run.outcomes, rules)]


def read_run(row: Sequence[Any], entries: Sequence[Entry]) -> Run:
    """The run of these entries that `row_of_run` took apart."""
    ending, rows = row
    return Run(read_outcomes(rows, entries), ending)


def rows_of_outcomes(outcomes: Sequence[Outcome], rules: RetryRules) -> list[list[Any]]:
    """What jobs ended with as plain values, and what they wish."""
    return [
        [outcome.entry.token, outcome.state, outcome.value, _wish(outcome, rules)] for outcome in outcomes
    ]


def read_outcomes(rows: Sequence[Sequence[Any]], entries: Sequence[Entry]) -> list[Outcome]:
    """The outcomes, of some of these entries, that `rows_of_outcomes` took apart."""
    by_token = {entry.token: entry for entry in entries}
    return [
        Outcome(by_token[token], state, value, cause=None if wish is None else RetryWish(*wish))
        for token, state, value, wish in rows
    ]


def _wish(outcome: Outcome, rules: RetryRules) -> RetryWish | None:
    return wish_of(outcome.cause, rules) if isinstance(outcome.cause, BaseException) else None
