"""Read what the scripts tell about jobs: events, batches, progress, lines of a log.

Rule: parsing is pure and total; what no version of microbatch wrote is a `ProtocolError`, never a guess. The
records' histories and the messages to those who listen have the same form, so there is one reader for both.

It never asks where an event came from.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from microbatch.common.codec import decode, unpacker
from microbatch.common.errors import ProtocolError
from microbatch.common.jobs.states import FINAL_STATES, JobState
from microbatch.common.jobs.update import ErrorFacts, JobUpdate, LogLine, Progress

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "BatchWords",
    "Happening",
    "batch_of",
    "moment",
    "parse_batch",
    "parse_error",
    "parse_error_head",
    "parse_happening",
    "parse_lines",
    "parse_progress",
]

_WORDS_IN_FULL = 3
_BATCH = re.compile(r"(\S+) ([0-9]{1,9}) (\S+) ([0-9]{1,15}) (\S+)(?: ([0-9]{1,15}))?")
_HAPPENING = re.compile(r"([a-z_]+) ([0-9]{1,15}) ([0-9]{1,9})(?: (.+))?")
_NOTE = re.compile(r"([0-9]{1,15}) ([0-9]{1,9}) (\S+) ?(.*)", re.DOTALL)

STATE_AFTER = {
    "submitted": JobState.QUEUED,
    "scheduled": JobState.SCHEDULED,
    "promoted": JobState.QUEUED,
    "claimed": JobState.RUNNING,
    "handed back": JobState.QUEUED,
    "taken over": JobState.QUEUED,
    "retried": JobState.SCHEDULED,
    "redriven": JobState.QUEUED,
    "progress": JobState.RUNNING,
    "log": JobState.RUNNING,
} | {str(state): state for state in FINAL_STATES}
"""In which state a job is after each event."""


@dataclass(frozen=True, slots=True)
class BatchWords:
    """A batch as records name it; `reason` is None, and `started_ms` 0, where no processor answered."""

    batch_id: str
    size: int
    reason: str | None
    started_ms: int
    worker: str
    waited_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Happening:
    """An event as the scripts write it; `attempt` is 0 where they did not know it."""

    event: str
    at_ms: int
    attempt: int
    batch: BatchWords | None
    data: bytes

    @property
    def is_known(self) -> bool:
        """Whether this version knows what that was."""
        return self.event in STATE_AFTER

    def update(self, job_id: str) -> JobUpdate:
        """The same for users.

        Raises:
            ProtocolError: Its data is not what the scripts write.
        """
        failed = self.event in {"failed", "retried"}
        progress = parse_progress(self.data) if self.event == "progress" else None
        line = _line(self.data, 0) if self.event == "log" else None
        batch = self.batch
        return JobUpdate(
            job_id,
            self.event,
            STATE_AFTER[self.event],
            moment(self.at_ms),
            self.attempt,
            batch.worker if batch else None,
            batch.batch_id if batch else None,
            batch.size if batch else None,
            batch.reason if batch else None,
            error=parse_error_head(self.data) if failed and self.data else None,
            progress=progress,
            line=line,
        )


def parse_error(value: Any) -> ErrorFacts:
    """Read a decoded error.

    Raises:
        ProtocolError: It is not what `codec.encode_error` writes.
    """
    fields = value if isinstance(value, dict) else {}
    kind, message, traceback = (fields.get(name) for name in ("type", "message", "traceback"))
    if isinstance(kind, str) and isinstance(message, str) and isinstance(traceback, str):
        return ErrorFacts(kind, message, traceback)
    raise ProtocolError("a failed job's error is not a map with type, message and traceback")


def batch_of(record: Mapping[bytes, bytes]) -> BatchWords | None:
    """The batch in which a record says that its job ran last; None: it did not run.

    Raises:
        ProtocolError: It is none.
    """
    words = record.get(b"batch")
    if words is None:
        return None
    if words.count(b" ") < _WORDS_IN_FULL:  # the others stand beside it
        words += b" " + record.get(b"ran", b"")
    return parse_batch(words.decode("utf-8", "replace"))


def parse_batch(words: str) -> BatchWords:
    """Read the words that name a batch.

    Raises:
        ProtocolError: They are none.
    """
    match = _BATCH.fullmatch(words)
    if match is None:
        raise ProtocolError("a batch is not named by an id, a size, a reason, a time and a worker")
    batch_id, size, reason, started_ms, worker, waited_ms = match.groups()
    return BatchWords(
        batch_id,
        int(size),
        None if reason == "-" else reason,
        int(started_ms),
        worker,
        None if waited_ms is None else int(waited_ms),
    )


def parse_happening(packed: bytes) -> Happening:
    """Read one event.

    Raises:
        ProtocolError: It is not what the scripts write.
    """
    head, _, data = packed.partition(b"\n")
    match = _HAPPENING.fullmatch(head.decode("utf-8", "replace"))
    if match is None:
        raise ProtocolError("something that happened to a job is not told as the scripts tell it")
    batch = parse_batch(match[4]) if match[4] else None
    return Happening(match[1].replace("_", " "), int(match[2]), int(match[3]), batch, data)


def parse_progress(packed: bytes) -> Progress:
    """Read the record's field `progress`: a time, an attempt, a fraction and a text.

    Raises:
        ProtocolError: It is none.
    """
    at, attempt, word, text = _note(packed)
    try:
        return Progress(float(word), text, at, attempt)
    except ValueError:
        raise ProtocolError("a job's progress is no number") from None


def parse_lines(packed: Sequence[bytes], first: int) -> list[LogLine]:
    """Read lines of a log, the first of which has that number: each a time, an attempt, a level and a text.

    Raises:
        ProtocolError: One is none.
    """
    return [_line(line, number) for number, line in enumerate(packed, first)]


def _line(packed: bytes, number: int) -> LogLine:
    at, attempt, level, text = _note(packed)
    return LogLine(at, attempt, level, text, number)


def _note(packed: bytes) -> tuple[datetime, int, str, str]:
    match = _NOTE.fullmatch(packed.decode("utf-8", "replace"))
    if match is None:
        raise ProtocolError("what a processor noted about its job is not as the scripts write it")
    return moment(int(match[1])), int(match[2]), match[3], match[4]


def parse_error_head(data: bytes) -> ErrorFacts:
    """The error whose first bytes these are: what is cut off is left out."""
    try:
        return parse_error(decode(data))
    except ProtocolError:
        pass
    stream = unpacker(len(data))
    stream.feed(data)
    found = {"type": "", "message": "", "traceback": ""}
    with contextlib.suppress(Exception):  # it ends in the middle, which is what it may do
        for _ in range(stream.read_map_header()):
            name = stream.unpack()
            found[str(name)] = str(stream.unpack())
    return ErrorFacts(found["type"], found["message"], found["traceback"])


def moment(time_ms: int) -> datetime:
    """A time of Redis's clock.

    Raises:
        ProtocolError: It is none.
    """
    try:
        return datetime.fromtimestamp(time_ms / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        raise ProtocolError(f"{time_ms} ms is no moment in time") from None
