"""Turn claimed entries into a batch, and set aside what no processor can see.

Rule: a pure function; each payload is decoded on its own, so a bad one fails alone and its mates never
notice. An entry of a later version is not bad: it is handed back for a newer worker. A job whose deadline
passed before this claim is never shown to the processor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from microbatch.common.codec import LIMITS, Limits, decode, is_deeper, too_deep, unpack
from microbatch.common.errors import ProtocolError, SealError
from microbatch.common.scripts import Fault
from microbatch.common.seals.jobs import open_job
from microbatch.worker.batch import Job

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from microbatch.common.jobs.entry import Entry
    from microbatch.common.seals import Seals
    from microbatch.worker.notes import Notes

__all__ = ["Assembled", "assemble"]

_NO_HEADERS: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Assembled:
    """Jobs with their entries, in the same order; entries that came too late, are faulty, or are newer."""

    jobs: list[Job[Any]]
    entries: list[Entry]
    expired: list[Entry]
    faulty: list[tuple[Entry, Fault]]
    newer: int


def assemble(
    queue: str,
    claimed: Sequence[Entry],
    claimed_ms: int,
    notes: Notes | None = None,
    *,
    limits: Limits = LIMITS,
    seals: Seals | None = None,
) -> Assembled:
    """Sort entries that were claimed at `claimed_ms`, by Redis's clock.

    `notes` take what is said of them; `limits` bound what they carry. With `seals` every payload has to be
    sealed, and its entry holds it opened afterwards.
    """
    jobs: list[Job[Any]] = []
    entries: list[Entry] = []
    expired: list[Entry] = []
    faulty: list[tuple[Entry, Fault]] = []
    newer = 0
    for entry in claimed:
        if entry.newer:
            newer += 1
            continue
        if entry.fault:
            faulty.append((entry, Fault("ProtocolError", entry.fault)))
            continue
        # A foreign entry id can lie far ahead, and its stream counts on from there: such a job came just now.
        entry.enqueued_ms = min(entry.enqueued_ms, claimed_ms)
        if entry.expires_ms is not None and entry.expires_ms <= claimed_ms:
            expired.append(entry)
            continue
        try:
            if seals is not None:
                entry.payload = open_job(seals, queue, entry.local, entry.payload, entry.headers)
            payload = unpack(entry.payload, limits)
            headers = _NO_HEADERS if not entry.headers else _headers(entry.headers, limits)
        except SealError as error:
            faulty.append((entry, Fault("SealError", f"the payload cannot be trusted: {error}")))
            continue
        except ProtocolError as error:
            faulty.append((entry, Fault("PayloadError", str(error))))
            continue
        jobs.append(Job(queue, entry, payload, headers, notes))
        entries.append(entry)
    if is_deeper([job.payload for job in jobs], limits.depth + 1):
        faulty += _set_aside_deep(jobs, entries, limits.depth)
    return Assembled(jobs, entries, expired, faulty, newer)


def _set_aside_deep(jobs: list[Job[Any]], entries: list[Entry], depth: int) -> list[tuple[Entry, Fault]]:
    """Take the jobs out whose payloads are nested too deep: looked for only where a batch has one."""
    deep = [index for index, job in enumerate(jobs) if is_deeper(job.payload, depth)]
    fault = Fault("PayloadError", str(too_deep(depth)))
    faulty = [(entries[index], fault) for index in deep]
    for index in reversed(deep):
        del jobs[index], entries[index]
    return faulty


def _headers(data: bytes, limits: Limits) -> Mapping[str, Any]:
    headers = decode(data, limits)
    if not isinstance(headers, dict):
        raise ProtocolError(f"headers of type {type(headers).__name__}")
    return headers
