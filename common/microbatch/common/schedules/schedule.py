"""A schedule: what is to be submitted again and again, and when.

Rule: a schedule is checked when it is made, so that a wrong one fails where it was written. What it says
travels as a `Definition`, of which the scripts understand nothing but the parts of an entry; equal
definitions are equal bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from microbatch.common.codec import decode, encode
from microbatch.common.errors import ProtocolError
from microbatch.common.identifiers import check_queue, is_name, payload_digest
from microbatch.common.schedules.ticks import TickRule, moment, rule_of, tick_name

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "MAX_NAME",
    "Definition",
    "Missed",
    "Schedule",
    "Timetable",
    "check_name",
    "tick_headers",
    "tick_job",
]

Missed = Literal["skip", "run_once", "run_all"]
"""What becomes of ticks that no worker could take in time: nothing; the latest is run; all are run."""

MAX_NAME = 96
"""Characters of a name: the id of a tick's job is the name, a colon and the tick."""

MOST_MISSED = 1_000
MOST_ATTEMPTS = 1_000
HIGHEST = 100
VERSION = 1
_MOST_S = 315_360_000


class Definition(NamedTuple):
    """A schedule as it is stored: `timetable` says when, the others are parts of each entry."""

    timetable: bytes
    payload: bytes
    digest: bytes
    headers: bytes
    options: bytes


@dataclass(frozen=True, slots=True)
class Timetable:
    """When ticks come, and what becomes of missed ones."""

    rule: TickRule
    missed: Missed = "run_once"
    max_missed: int = 100
    expires_in_ms: int | None = None

    def encoded(self) -> bytes:
        """As it is stored."""
        cron = getattr(self.rule, "expression", None)
        fields = {
            "v": VERSION,
            "cron": cron,
            "timezone": getattr(self.rule, "timezone", "UTC"),
            "every_ms": getattr(self.rule, "every_ms", None),
            "missed": self.missed,
            "max_missed": self.max_missed,
            "expires_in_ms": self.expires_in_ms,
        }
        return encode(fields)

    @classmethod
    def decoded(cls, data: bytes) -> Timetable:
        """Read what is stored.

        Raises:
            ProtocolError: It is not ours, or of a later version, or what it needs is not installed here.
        """
        fields = decode(data)
        if not isinstance(fields, dict) or fields.get("v") != VERSION:
            raise ProtocolError("a timetable that this version does not know")
        every_ms = fields.get("every_ms")
        try:
            rule = rule_of(
                cron=fields.get("cron"),
                every_s=every_ms / 1000 if isinstance(every_ms, int) else None,
                timezone=fields.get("timezone", "UTC"),
            )
            missed = _checked_missed(fields.get("missed"), fields.get("max_missed"))
        except ValueError as error:
            raise ProtocolError(str(error)) from error
        expires_in_ms = fields.get("expires_in_ms")
        return cls(rule, *missed, expires_in_ms if isinstance(expires_in_ms, int) else None)


@dataclass(frozen=True, slots=True)
class Schedule:
    """A job that comes again and again: exactly one for each tick, however many workers there are.

    Give it to a worker of its queue (`Worker([report, nightly])`), or to `Admin.schedules(queue).put`.

    Attributes:
        name: Its name within the queue, 1 to 96 of `A-Z a-z 0-9 _ . : -`. A tick's job has the id
            `queue/name:20260131T083000Z`.
        queue: Where its jobs go.
        payload: What each job carries.
        cron: `minute hour day month weekday` (with a sixth field in front: seconds), or `@daily` and the
            like. Needs the extra `microbatch[cron]`.
        every_s: Instead of `cron`: an interval in seconds, 1 or more, counted from 1970-01-01T00:00Z.
        timezone: Where a cron expression's wall clock hangs, such as `Europe/Berlin`.
        missed: What becomes of ticks that no worker could take for ten seconds: `run_once` (the default) runs
            the latest of them, `run_all` all, `skip` none.
        max_missed: How many `run_all` runs at most, the latest.
        kind: As in `submit`.
        headers: Travel with each job, beside `schedule` (its name) and `tick` (the moment, a datetime).
        priority: As in `submit`.
        batch_key: As in `submit`.
        max_attempts: As in `submit`.
        result_ttl_s: As in `submit`.
        expires_in_s: By when after its tick a job must have been started, in seconds; None: no deadline.

    Raises:
        ValueError: A value that cannot be.
        PayloadError: A payload or headers that cannot travel.

    Example:
        >>> nightly = Schedule("nightly", queue="report", cron="0 3 * * *", timezone="Europe/Berlin")
    """

    name: str
    queue: str = field(kw_only=True)
    payload: Any = field(default=None, kw_only=True)
    cron: str | None = field(default=None, kw_only=True)
    every_s: float | None = field(default=None, kw_only=True)
    timezone: str = field(default="UTC", kw_only=True)
    missed: Missed = field(default="run_once", kw_only=True)
    max_missed: int = field(default=100, kw_only=True)
    kind: str | None = field(default=None, kw_only=True)
    headers: Mapping[str, Any] | None = field(default=None, kw_only=True)
    priority: int | None = field(default=None, kw_only=True)
    batch_key: str | None = field(default=None, kw_only=True)
    max_attempts: int | None = field(default=None, kw_only=True)
    result_ttl_s: float | None = field(default=None, kw_only=True)
    expires_in_s: float | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        check_name(self.name)
        check_queue(self.queue)
        self.definition()

    @property
    def rule(self) -> TickRule:
        """When its ticks come."""
        return rule_of(cron=self.cron, every_s=self.every_s, timezone=self.timezone)

    def definition(self) -> Definition:
        """As it is stored."""
        missed, max_missed = _checked_missed(self.missed, self.max_missed)
        expires_in_ms = _ms("expires_in_s", self.expires_in_s, least_s=1)
        timetable = Timetable(self.rule, missed, max_missed, expires_in_ms)
        payload = encode(self.payload)
        kind = {} if self.kind is None else {"kind": _name("kind", self.kind)}
        headers = encode({**(self.headers or {}), **kind, "schedule": self.name})
        return Definition(timetable.encoded(), payload, payload_digest(payload), headers, self._options())

    def _options(self) -> bytes:
        words = {
            "ttl_ms": _ms("result_ttl_s", self.result_ttl_s),
            "max_attempts": _number("max_attempts", self.max_attempts, 1, MOST_ATTEMPTS),
            "priority": _number("priority", self.priority, -HIGHEST, HIGHEST),
            "batch_key": None if self.batch_key is None else _name("batch_key", self.batch_key),
        }
        return " ".join(f"{name}={value}" for name, value in words.items() if value is not None).encode()


def tick_job(name: str, tick_ms: int) -> str:
    """The local id of a tick's job: the same on every host."""
    return f"{name}:{tick_name(tick_ms)}"


def tick_headers(headers: bytes, tick_ms: int) -> bytes:
    """The headers of a tick's job."""
    return encode({**decode(headers), "tick": moment(tick_ms)})


def check_name(name: str) -> str:
    """Return `name` if a schedule can have it.

    Raises:
        ValueError: It cannot.
    """
    if not isinstance(name, str) or not is_name(name) or len(name) > MAX_NAME:
        raise ValueError(
            f"a schedule's name has 1 to {MAX_NAME} of A-Z a-z 0-9 _ . : - and no others, not {name!r:.140}"
        )
    return name


def _checked_missed(missed: object, max_missed: object) -> tuple[Missed, int]:
    for known in get_args(Missed):
        if missed == known:
            if type(max_missed) is int and 1 <= max_missed <= MOST_MISSED:
                return known, max_missed
            raise ValueError(f"max_missed is {max_missed!r}, and may be 1 to {MOST_MISSED}")
    raise ValueError(f"missed is 'skip', 'run_once' or 'run_all', not {missed!r:.80}")


def _number(name: str, number: int | None, least: int, most: int) -> int | None:
    if number is None or (type(number) is int and least <= number <= most):
        return number
    raise ValueError(f"{name} is {number!r}, and may be {least} to {most}")


def _name(what: str, name: str) -> str:
    if isinstance(name, str) and is_name(name):
        return name
    raise ValueError(f"a {what} has 1 to 128 of A-Z a-z 0-9 _ . : - and no others, not {name!r:.80}")


def _ms(name: str, seconds: float | None, *, least_s: float = 0) -> int | None:
    if seconds is None:
        return None
    if not least_s <= seconds <= _MOST_S:
        raise ValueError(f"{name} is {seconds!r}, and may be {least_s:g} to {_MOST_S} seconds")
    return round(seconds * 1000)
