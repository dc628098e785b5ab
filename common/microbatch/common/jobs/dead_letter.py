"""A dead letter: a job that failed for good, or an entry that nothing can process, as operators see it.

Rule: reading a letter never raises, whatever its bytes are: what cannot be read is told as a reason, and the
rest still shows. It is pure; what wins where a letter names a field twice was decided where it was fetched.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from microbatch.common.codec import decode
from microbatch.common.errors import ProtocolError
from microbatch.common.identifiers import is_name, job_id
from microbatch.common.jobs.entry import lane_words
from microbatch.common.jobs.happenings import parse_error
from microbatch.common.jobs.update import ErrorFacts
from microbatch.common.seals.jobs import payload_or_fault
from microbatch.common.stored_numbers import moment_of, number_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from microbatch.common.scripts import RawLetter
    from microbatch.common.seals import Seals

__all__ = ["DeadLetter", "parse_letter"]

_DEATH = "dead_"
_ENTRY = frozenset(
    {"v", "id", "client", "payload", "headers", "ttl_ms", "max_attempts", "expires_ms", "enqueued_ms"}
    | {"attempt", "crashes", "failures", "priority", "batch_key", "cost"}
)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One dead letter. Times are aware UTC datetimes by Redis's clock; what is not known is None.

    Attributes:
        letter_id: Names the letter within its queue's dead letters.
        job_id: The full id, `queue/local`; None where the entry names no valid one.
        died_at: When it was given up.
        enqueued_at: When it was first accepted; None where the entry does not say.
        attempts: How many runs began.
        run: Which run of the job this was: one more for each time that an operator gave it another.
        error: Why it was given up.
        worker: Who gave it up.
        batch_id: In which batch.
        payload: The decoded payload; None where there is a `payload_fault`.
        payload_fault: Why the payload cannot be shown; empty where it can.
        headers: The decoded headers.
        raw: Fields of the entry that are none of microbatch's, and a payload that cannot be decoded.
        priority: Of the job.
        batch_key: Of the job; empty where it has none.
        payload_bytes: How large the encoded payload is.
    """

    letter_id: str
    job_id: str | None
    died_at: datetime | None
    enqueued_at: datetime | None
    attempts: int
    run: int
    error: ErrorFacts
    worker: str
    batch_id: str
    payload: Any
    payload_fault: str
    headers: Mapping[str, Any] = field(default_factory=dict)
    raw: Mapping[str, bytes] = field(default_factory=dict)
    priority: int = 0
    batch_key: str = ""
    payload_bytes: int = 0


def parse_letter(queue: str, letter: RawLetter, seals: Seals | None = None) -> DeadLetter:
    """Read a letter of `queue`; `seals` open its payload, if that is sealed."""
    named = {name.decode("utf-8", "backslashreplace"): value for name, value in letter.fields.items()}
    local = named.get("id", b"").decode("ascii", "replace")
    raw = {
        name: value
        for name, value in named.items()
        if name not in _ENTRY and not (name.startswith(_DEATH) and "dead_token" in named)
    }
    payload, fault = _payload(queue, local, named, seals)
    if fault and "payload" in named:
        raw["payload"] = named["payload"]
    priority, batch_key = lane_words(letter.fields)
    return DeadLetter(
        letter_id=letter.letter_id,
        job_id=job_id(queue, local) if is_name(local) else None,
        died_at=moment_of(number_of(letter.letter_id.partition("-")[0].encode())),
        enqueued_at=moment_of(number_of(named.get("enqueued_ms", b""))),
        attempts=number_of(named.get("dead_attempt", b"")) or 0,
        run=number_of(named.get("dead_run", b"")) or 1,
        error=_error(named.get("dead_error", b"")),
        worker=named.get("dead_worker", b"").decode("utf-8", "backslashreplace"),
        batch_id=named.get("dead_batch", b"").decode("utf-8", "backslashreplace"),
        payload=payload,
        payload_fault=fault,
        headers=_headers(named.get("headers", b"")),
        raw=raw,
        priority=priority,
        batch_key=batch_key,
        payload_bytes=len(named.get("payload", b"")),
    )


def _payload(queue: str, local: str, named: Mapping[str, bytes], seals: Seals | None) -> tuple[Any, str]:
    if "payload" not in named:
        return None, "the entry has no payload"
    return payload_or_fault(seals, queue, local, named["payload"], named.get("headers", b""))


def _headers(raw: bytes) -> Mapping[str, Any]:
    try:
        headers = decode(raw) if raw else {}
    except ProtocolError:
        return {}
    return headers if isinstance(headers, dict) else {}


def _error(raw: bytes) -> ErrorFacts:
    try:
        return parse_error(decode(raw))
    except ProtocolError:
        return ErrorFacts("ProtocolError", "the letter does not say what happened", "")
