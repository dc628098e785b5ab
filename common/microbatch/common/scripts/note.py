"""The typed side of `note.lua`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from microbatch.common.scripts.script import Arg, Call, load

if TYPE_CHECKING:
    from collections.abc import Sequence

    from microbatch.common.keys import QueueKeys

__all__ = ["JobNote", "note"]


@dataclass(frozen=True, slots=True)
class JobNote:
    """What a processor said about one job since the last call.

    Attributes:
        local: The second half of the job's id.
        token: The delivery that it runs.
        attempt: Which run that is.
        progress: `fraction text`, encoded; empty where it said nothing.
        upto: How many lines it has said in this delivery, with these.
        lines: `age_ms level text` each, encoded.
    """

    local: str
    token: str
    attempt: int
    progress: bytes
    upto: int
    lines: Sequence[bytes]


def note(keys: QueueKeys, notes: Sequence[JobNote], *, most_lines: int, most_bytes: int) -> Call[int]:
    """Keep what was said; returns for how many of the jobs."""
    args: list[Arg] = [most_lines, most_bytes]
    for each in notes:
        args += (each.local, each.token, each.attempt, each.progress, each.upto, len(each.lines), *each.lines)
    return Call(load("note"), keys.prefix, args, _parse)


def _parse(reply: Any) -> int:
    return int(reply)
