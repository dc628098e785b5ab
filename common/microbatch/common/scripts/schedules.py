"""The typed side of `schedules.lua`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from microbatch.common.scripts.script import Call, load
from microbatch.common.stored_numbers import number_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from microbatch.common.keys import QueueKeys

__all__ = ["ScheduleView", "ScheduleViews", "schedules"]

_LAST_MS = 253_402_300_799_999  # 9999-12-31, the end of Python's calendar
_NEVER_MS = 9_007_199_254_740_991  # as in include/schedule.lua


@dataclass(frozen=True, slots=True)
class ScheduleView:
    """A schedule as it is stored.

    Attributes:
        name: Its name.
        look_ms: When a worker is to look at it.
        fields: Its hash.
        waiting: The ticks whose jobs were put and still wait for them, ascending.
    """

    name: str
    look_ms: int
    fields: Mapping[bytes, bytes]
    waiting: list[int]

    def number(self, field: str) -> int | None:
        """A field that is a number, and a moment where it says a time; None where it is none."""
        raw = self.fields.get(field.encode(), b"")
        return _within(number_of(raw))


class ScheduleViews(NamedTuple):
    """Schedules, and Redis's time as they were read."""

    now_ms: int
    views: list[ScheduleView]


def schedules(
    keys: QueueKeys, which: Literal["due", "all", "named"] = "all", *names: str, limit: int = 1_000
) -> Call[ScheduleViews]:
    """Read the schedules that want a look now, all of them, or some by name."""
    return Call(load("schedules"), keys.prefix, (which, limit, *names), _parse)


def _parse(reply: Any) -> ScheduleViews:
    return ScheduleViews(int(reply[0]), [_view(*row) for row in reply[1:]])


def _view(name: bytes, look_ms: bytes, flat: list[bytes], waiting: list[bytes]) -> ScheduleView:
    fields = dict(zip(flat[::2], flat[1::2], strict=True))
    whole_ms = number_of(look_ms.partition(b".")[0])
    ticks = sorted(tick for tick in map(_within, map(number_of, waiting)) if tick is not None)
    return ScheduleView(
        name.decode("utf-8", "backslashreplace"), _NEVER_MS if whole_ms is None else whole_ms, fields, ticks
    )


def _within(value: int | None) -> int | None:
    return None if value is None or value > _LAST_MS else value
