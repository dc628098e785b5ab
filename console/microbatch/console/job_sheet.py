"""All that is known about one job: its record, its entry, its log and its dead letter, side by side.

Rule: it asks for each where it is; a job that moves on between two answers is told as of the first. The
payload is fetched only where somebody wants it: payloads are nobody's business but the processor's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from microbatch.common import scripts
from microbatch.common.identifiers import job_id
from microbatch.common.jobs.happenings import parse_lines
from microbatch.common.jobs.states import JobState
from microbatch.common.jobs.status import parse_status
from microbatch.common.netstrings import read_netstrings
from microbatch.common.seals.jobs import payload_or_fault
from microbatch.console.job_row import row_of_entry

if TYPE_CHECKING:
    from microbatch.common.connection import Connection
    from microbatch.common.jobs.dead_letter import DeadLetter
    from microbatch.common.jobs.status import JobStatus
    from microbatch.common.jobs.update import LogLine
    from microbatch.common.keys import QueueKeys
    from microbatch.common.scripts import JobSight
    from microbatch.common.seals import Seals
    from microbatch.console.dead_letters import DeadLetters
    from microbatch.console.job_row import JobRow

__all__ = ["JobSheet", "read_sheet"]

NOT_KEPT: Final = "a finished job's payload is not kept"


@dataclass(frozen=True, slots=True)
class JobSheet:
    """All that is known about one job.

    Attributes:
        id: The full id.
        status: Its record; None where only its dead letter is left.
        entry: Its entry while it is not finished: priority, batch key, kind, size of its payload, lane.
        log: The lines of its log that are kept, the oldest first.
        letter: Its newest dead letter, where it failed.
        payload: The decoded payload; None where it was not asked for, or there is a fault.
        payload_fault: Why there is none although it was asked for; empty otherwise.
    """

    id: str
    status: JobStatus | None
    entry: JobRow | None
    log: list[LogLine]
    letter: DeadLetter | None
    payload: Any = None
    payload_fault: str = ""


async def read_sheet(
    connection: Connection,
    keys: QueueKeys,
    local: str,
    letters: DeadLetters,
    *,
    with_payload: bool,
    seals: Seals | None,
) -> JobSheet | None:
    """Ask for all of it; None where there is neither a record nor a letter. Seals open what is sealed.

    Raises:
        ProtocolError: The record's key holds something else.
    """
    full_id = job_id(keys.queue, local)
    view = await connection.run(scripts.job_status(keys, local))
    status = None if view is None else parse_status(full_id, view)
    letter = await letters.find(full_id) if status is None or status.state is JobState.FAILED else None
    if status is None:
        return (
            None
            if letter is None
            else JobSheet(full_id, None, None, [], letter, *_told(letter, with_payload=with_payload))
        )
    log: list[LogLine] = []
    if status.log_lines:
        lines = await connection.run(scripts.job_log(keys, local))
        log = (
            [] if lines is None else parse_lines(read_netstrings(lines.packed), lines.total - lines.kept + 1)
        )
    if status.state.is_final:
        payload, fault = _told(letter, with_payload=with_payload)
        return JobSheet(full_id, status, None, log, letter, payload, fault)
    sight = await connection.run(scripts.job_entry(keys, local, with_payload=with_payload))
    if sight is None:  # it has come to its end just now
        return JobSheet(full_id, status, None, log, letter, None, NOT_KEPT if with_payload else "")
    payload, fault = _opened(keys.queue, local, sight, seals) if with_payload else (None, "")
    return JobSheet(full_id, status, row_of_entry(keys.queue, sight), log, letter, payload, fault)


def _told(letter: DeadLetter | None, *, with_payload: bool) -> tuple[Any, str]:
    """What a letter says about the payload."""
    if not with_payload:
        return None, ""
    return (None, NOT_KEPT) if letter is None else (letter.payload, letter.payload_fault)


def _opened(queue: str, local: str, sight: JobSight, seals: Seals | None) -> tuple[Any, str]:
    said = sight.fields
    return payload_or_fault(seals, queue, local, said.get(b"payload", b""), said.get(b"headers", b""))
