"""Seals of jobs and of schedules: how a payload is made safe to travel, and opened by whoever may see it.

Rule: a job's payload is bound to its id. A schedule's is sealed once, bound to the schedule's name, by who
declares it, and each of its jobs carries that: the jobs of ticks are put by whichever worker is there, and
need no key. What such a job says of its tick is not bound.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from microbatch.common.codec import decode, encode
from microbatch.common.errors import ProtocolError, SealError

if TYPE_CHECKING:
    from typing import Any

    from microbatch.common.schedules.schedule import Definition, Schedule
    from microbatch.common.seals.seals import Seals

__all__ = ["open_job", "open_schedule", "payload_or_fault", "sealed_definition"]

TICK = "tick"


def sealed_definition(seals: Seals | None, schedule: Schedule) -> Definition:
    """A schedule as it is stored, its payload under seal where there are keys."""
    plain = schedule.definition()
    if seals is None:
        return plain
    _, headers = _of_schedule(plain.headers)
    return plain._replace(
        payload=seals.seal("schedule", schedule.queue, schedule.name, plain.payload, headers),
        digest=seals.digest(plain.payload) or plain.digest,
    )


def open_job(seals: Seals, queue: str, local: str, payload: bytes, headers: bytes) -> bytes:
    """The payload inside, of a job that somebody submitted or that a schedule brought.

    Raises:
        SealError: It is not sealed as these keys ask for, by one of them, for this job or for its schedule.
    """
    try:
        return seals.open("job", queue, local, payload, headers)
    except SealError:
        name, bound = _of_schedule(headers)
        if not name:
            raise
        return seals.open("schedule", queue, name, payload, bound)


def payload_or_fault(
    seals: Seals | None, queue: str, local: str, payload: bytes, headers: bytes
) -> tuple[Any, str]:
    """A job's decoded payload, for people; or why it cannot be shown. Without keys a seal is a reason."""
    try:
        return decode(payload if seals is None else open_job(seals, queue, local, payload, headers)), ""
    except ProtocolError as error:
        return None, str(error)


def open_schedule(seals: Seals, queue: str, name: str, payload: bytes, headers: bytes) -> bytes:
    """The payload inside, of a schedule as it is stored; errors as from `open_job`."""
    return seals.open("schedule", queue, name, payload, _of_schedule(headers)[1])


def _of_schedule(headers: bytes) -> tuple[str, bytes]:
    """The schedule that headers name, and what of them is bound to it; both empty where they name none."""
    try:
        said = decode(headers) if headers else {}
    except ProtocolError:
        return "", b""
    name = said.get("schedule") if isinstance(said, dict) else None
    if not isinstance(name, str):
        return "", b""
    return name, encode({key: value for key, value in said.items() if key != TICK})
