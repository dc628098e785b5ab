"""A place in a list of jobs: where a page ended, and the next one begins.

Rule: pure. A place is text without a character that a shell or a terminal minds, so that it can be handed on.
The order of what Redis keeps in hash tables is only told by its scan cursors, which do not stop in the
middle of an answer; `Sweep` says where in such an answer one was, so that nothing that stays is ever passed
over.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, get_args
from urllib.parse import quote_from_bytes, unquote_to_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["LETTER_ID", "SIDE_LANE", "Place", "PlaceElsewhere", "Section", "Sweep", "remaining"]

Section = Literal["lanes", "scheduled", "dead", "records"]
"""Where jobs are kept, in the order in which they are listed."""

SIDE_LANE: Final = re.compile(rb"(?:front|-?[0-9]{1,3})/[A-Za-z0-9_.:-]{0,128}")
LETTER_ID: Final = re.compile(r"[0-9]{1,20}-[0-9]{1,20}")
_LANE: Final = rf"(?:solo|front|main|{SIDE_LANE.pattern.decode()})"
_TOKEN: Final = re.compile(rf"{_LANE}:{LETTER_ID.pattern}")
_SCORE: Final = re.compile(r"-?(?:inf|[0-9.]{1,20}(?:e[+-]?[0-9]{1,3})?)")
_CURSOR: Final = re.compile(r"[0-9]{1,20}")
_LIMIT: Final = 2_000
_AT: Final = {"lanes": _TOKEN, "scheduled": _SCORE, "dead": LETTER_ID, "records": re.compile("")}


class PlaceElsewhere(ValueError):
    """A place in a list of other jobs."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """A place in a scan.

    Attributes:
        cursor: What the scan was asked with.
        until: The cursor that it answered; empty where nothing of the answer was taken yet.
        name: The last name of the answer that was taken, in their order by bytes.
    """

    cursor: str = "0"
    until: str = ""
    name: bytes = b""


def remaining(names: Iterable[bytes], until: str, sweep: Sweep) -> list[bytes]:
    """The names of an answer that are still to be taken, sorted.

    The same cursor may be answered with other names when the table has grown or shrunk. Only where it leads
    to the same cursor as before does it cover the same part of the table, and those up to `name` were taken;
    else all are taken once more.

    Args:
        names: What the scan answered to `sweep.cursor`.
        until: The cursor that it answered.
        sweep: How far one had come.
    """
    found = sorted(set(names))
    return [name for name in found if name > sweep.name] if until == sweep.until else found


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a list.

    Attributes:
        section: Where.
        at: Behind what: a token, a score, a letter's id; empty at the beginning.
        member: With a score: behind which member of the set.
        sweep: In the side lanes and in the records: how far the scan has come. None in the lanes that every
            queue has.
    """

    section: Section
    at: str = ""
    member: bytes = b""
    sweep: Sweep | None = None

    def __str__(self) -> str:
        sweep = self.sweep
        words = [self.section, self.at, _quoted(self.member)]
        words += [sweep.cursor, sweep.until, _quoted(sweep.name)] if sweep else []
        return ",".join(words).rstrip(",")

    @classmethod
    def parse(cls, text: str) -> Place:
        """Read what `str` wrote.

        Raises:
            ValueError: It is none.
        """
        section, at, member, cursor, until, name, *more = [*text.split(","), "", "", "", "", ""]
        wrong = (
            any(more)
            or len(text) > _LIMIT
            or section not in get_args(Section)
            or (at and not _AT[section].fullmatch(at))
            or (member and section != "scheduled")
            or (cursor and not _CURSOR.fullmatch(cursor))
            or (until and not (cursor and _CURSOR.fullmatch(until)))
        )
        if wrong:
            raise ValueError(f"{text[:80]!r} is no place in a list of jobs: say what the last page said")
        sweep = Sweep(cursor, until, unquote_to_bytes(name)) if cursor else None
        return cls(section, at, unquote_to_bytes(member), sweep)  # type: ignore[arg-type]  # it was checked


def _quoted(raw: bytes) -> str:
    return quote_from_bytes(raw, safe="/:")
