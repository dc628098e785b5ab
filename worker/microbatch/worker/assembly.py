"""Turn claimed entries into a batch, and set aside what no processor can see.

Rule: a pure function; each payload is decoded on its own, so a bad one fails alone and its mates never
notice. An entry of a later version is not bad: it is handed back for a newer worker.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from microbatch.common.codec import decode
from microbatch.common.errors import ProtocolError
from microbatch.common.scripts import Fault
from microbatch.worker.batch import Job

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from microbatch.common.entry import Entry

__all__ = ["Assembled", "assemble"]

_NO_HEADERS: Mapping[str, Any] = {}
_LATEST_MS = 253_402_300_799_999


@dataclass(frozen=True, slots=True)
class Assembled:
    """Jobs with their entries, in the same order; entries to quarantine; entries for newer workers."""

    jobs: list[Job[Any]]
    entries: list[Entry]
    faulty: list[tuple[Entry, Fault]]
    newer: int


def assemble(queue: str, claimed: Sequence[Entry]) -> Assembled:
    """Sort claimed entries."""
    jobs: list[Job[Any]] = []
    entries: list[Entry] = []
    faulty: list[tuple[Entry, Fault]] = []
    newer = 0
    for entry in claimed:
        if entry.newer:
            newer += 1
            continue
        if entry.fault:
            faulty.append((entry, Fault("ProtocolError", entry.fault)))
            continue
        if entry.enqueued_ms > _LATEST_MS:  # `Job.enqueued_at` would raise, and fail its mates with it
            faulty.append((entry, Fault("ProtocolError", "the entry was enqueued after the year 9999")))
            continue
        try:
            payload = decode(entry.payload)
            headers = _NO_HEADERS if not entry.headers else _headers(entry.headers)
        except ProtocolError as error:
            faulty.append((entry, Fault("PayloadError", str(error))))
            continue
        jobs.append(Job(queue, entry, payload, headers))
        entries.append(entry)
    return Assembled(jobs, entries, faulty, newer)


def _headers(data: bytes) -> Mapping[str, Any]:
    headers = decode(data)
    if not isinstance(headers, dict):
        raise ProtocolError(f"headers of type {type(headers).__name__}")
    return headers
