"""What a stored schedule looks like to people: its rule, its next tick, whether it is paused.

Rule: reading never fails; what this version cannot understand becomes `fault`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from microbatch.common.codec import decode
from microbatch.common.errors import ProtocolError
from microbatch.common.schedules.schedule import Timetable
from microbatch.common.schedules.ticks import moment
from microbatch.common.seals.jobs import open_schedule

if TYPE_CHECKING:
    from datetime import datetime

    from microbatch.common.scripts import ScheduleView
    from microbatch.common.seals import Seals

__all__ = ["ScheduleStatus", "parse_schedule"]


@dataclass(frozen=True, slots=True)
class ScheduleStatus:
    """A schedule as it stands.

    Attributes:
        name: Its name.
        queue: Its queue.
        rule: When its ticks come, as text: `0 3 * * * (Europe/Berlin)`, `every 60 s`.
        missed: What becomes of missed ticks.
        payload: What each job carries; None also where it cannot be read.
        next_at: When its next job is due; None where it is paused, or nothing more comes.
        paused_at: Since when it is paused; None: it is not.
        changed_at: When it was declared as it is now.
        source: Who declared it: `code` or `operator`.
        fault: Why this version does not understand it; empty where it does.
    """

    name: str
    queue: str
    rule: str
    missed: str
    payload: Any
    next_at: datetime | None
    paused_at: datetime | None
    changed_at: datetime | None
    source: str
    fault: str


def parse_schedule(queue: str, view: ScheduleView, now_ms: int, seals: Seals | None = None) -> ScheduleStatus:
    """Read a schedule as it was at `now_ms`, by Redis's clock; `seals` open its payload."""
    fault, rule, missed, payload, next_ms = "", "", "", None, min(view.waiting, default=None)
    paused_ms, changed_ms = view.number("paused"), view.number("changed_ms")
    try:
        timetable = Timetable.decoded(view.fields.get(b"timetable", b""))
        rule, missed = str(timetable.rule), timetable.missed
        if next_ms is None:  # no worker has put its job yet
            next_ms = next(timetable.rule.after(max(now_ms, view.number("last_ms") or 0)), None)
        data = view.fields.get(b"payload", b"")
        if seals is not None:
            data = open_schedule(seals, queue, view.name, data, view.fields.get(b"headers", b""))
        payload = decode(data)
    except ProtocolError as error:
        fault = str(error)
    return ScheduleStatus(
        name=view.name,
        queue=queue,
        rule=rule,
        missed=missed,
        payload=payload,
        next_at=None if next_ms is None or paused_ms is not None else moment(next_ms),
        paused_at=None if paused_ms is None else moment(paused_ms),
        changed_at=None if changed_ms is None else moment(changed_ms),
        source=view.fields.get(b"source", b"").decode("utf-8", "replace"),
        fault=fault,
    )
