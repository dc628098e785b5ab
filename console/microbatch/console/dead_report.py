"""Dead letters as text and as JSON.

Rule: pure; every text out of a letter is escaped, because its bytes may be anybody's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from microbatch.console.json_values import json_text
from microbatch.console.terminal import escaped, table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from microbatch.common.jobs.dead_letter import DeadLetter

__all__ = ["as_json", "as_table", "as_text"]

_TITLES = ("LETTER", "JOB", "TIME", "ATTEMPTS", "ERROR", "MESSAGE")
_MESSAGE_CHARS = 60


def as_table(letters: Sequence[DeadLetter]) -> str:
    """One line per letter."""
    return table(_TITLES, [_row(letter) for letter in letters])


def _row(letter: DeadLetter) -> tuple[object, ...]:
    message = letter.error.message
    if len(message) > _MESSAGE_CHARS:
        message = f"{message[: _MESSAGE_CHARS - 3]}..."
    return letter.letter_id, letter.job_id, _time(letter.died_at), letter.attempts, letter.error.type, message


def as_json(letter: DeadLetter, *, whole: bool) -> dict[str, Any]:
    """A letter for machines; `whole` with payload, headers and traceback."""
    error = {"type": letter.error.type, "message": letter.error.message}
    shown: dict[str, Any] = {
        "letter": letter.letter_id,
        "id": letter.job_id,
        "died_at": letter.died_at,
        "attempts": letter.attempts,
        "run": letter.run,
        "error": error,
    }
    if not whole:
        return shown
    error["traceback"] = letter.error.traceback
    shown |= {
        "enqueued_at": letter.enqueued_at,
        "worker": letter.worker or None,
        "batch": letter.batch_id or None,
        "headers": letter.headers,
    }
    shown |= {"payload_fault": letter.payload_fault} if letter.payload_fault else {"payload": letter.payload}
    return shown | ({"raw": letter.raw} if letter.raw else {})


def as_text(letter: DeadLetter) -> str:
    """All of a letter, for a person."""
    return "\n".join(_lines(letter))


def _lines(letter: DeadLetter) -> Iterator[str]:
    facts = (
        ("letter", letter.letter_id),
        ("job", letter.job_id or "(its entry names no valid one)"),
        ("died", _time(letter.died_at)),
        ("enqueued", _time(letter.enqueued_at)),
        ("attempts", f"{letter.attempts}, in run {letter.run}"),
        ("worker", letter.worker),
        ("batch", letter.batch_id),
        ("headers", json_text(letter.headers) if letter.headers else None),
        ("error", f"{letter.error.type}: {letter.error.message}"),
    )
    for name, value in facts:
        if value:
            yield f"{name:9} {escaped(value)}"
    for line in letter.error.traceback.splitlines():
        yield f"          {escaped(line)}"
    if letter.payload_fault:
        yield f"payload   cannot be shown: {escaped(letter.payload_fault)}"
    else:
        yield f"payload   {json_text(letter.payload)}"
    for name, raw in letter.raw.items():
        yield f"raw       {escaped(name)}: {raw!r}"


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.strftime("%Y-%m-%d %H:%M:%SZ")
