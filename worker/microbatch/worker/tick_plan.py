"""What is to be done for a schedule: which ticks get a job, and which jobs are taken back.

Rule: a pure function of the timetable, of what was done already and of the time. Jobs are put ahead of their
ticks, so that Redis's own schedule promotes each one in time; at least the next tick always has its job. A
tick is missed where nobody took its job within `MISSED_AFTER_MS`, or where it got none in that time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from microbatch.common.schedules.schedule import Timetable

__all__ = ["AHEAD_MS", "MISSED_AFTER_MS", "Plan", "plan"]

AHEAD_MS = 10_000
"""So far ahead all ticks have their jobs: a look that comes a second or two late delays none."""

MISSED_AFTER_MS = 10_000


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do.

    Attributes:
        put: The ticks whose jobs are to be put, ascending.
        take_back: The ticks whose jobs nobody took, and nobody shall.
        last_ms: Up to here every tick has been seen to.
        look_ms: When to look again; None: there is no further tick.
        dropped: Whether ticks were missed for which nothing is run.
    """

    put: list[int]
    take_back: list[int]
    last_ms: int
    look_ms: int | None
    dropped: bool


def plan(timetable: Timetable, last_ms: int, waiting: Sequence[int], now_ms: int) -> Plan:
    """Decide what to do for one schedule.

    Args:
        timetable: Its rule and policy.
        last_ms: Up to where its ticks have been seen to.
        waiting: The ticks whose jobs were put and still wait for their time, ascending.
        now_ms: The time, by Redis's clock.
    """
    missed_ms = now_ms - MISSED_AFTER_MS
    late = [tick for tick in waiting if tick <= missed_ms]
    fresh, dropped = (
        timetable.rule.latest(last_ms, missed_ms, _limit(timetable)) if last_ms < missed_ms else ([], False)
    )
    put, take_back = _make_up(timetable, late, fresh)
    dropped = dropped or bool(take_back) or len(put) < len(fresh)

    last_ms = max([last_ms, *fresh])
    ahead: list[int] = []
    upcoming = timetable.rule.after(last_ms)
    while last_ms <= now_ms + AHEAD_MS and (tick := next(upcoming, None)) is not None:
        ahead.append(tick)
        last_ms = tick
    still_waiting = [tick for tick in (*waiting, *put, *ahead) if tick not in take_back]
    return Plan([*put, *ahead], take_back, last_ms, _look_ms(last_ms, still_waiting, now_ms), dropped)


def _limit(timetable: Timetable) -> int:
    return timetable.max_missed if timetable.missed == "run_all" else 1


def _make_up(timetable: Timetable, late: list[int], fresh: list[int]) -> tuple[list[int], list[int]]:
    """For missed ticks: which get a job now, and which jobs go. `late` have one, `fresh` come after them."""
    if timetable.missed == "run_all":
        return fresh, []
    if timetable.missed == "skip":
        return [], late
    if fresh:
        return fresh, late  # only the latest was asked for
    return [], late[:-1]


def _look_ms(last_ms: int, waiting: list[int], now_ms: int) -> int | None:
    """When the next tick is to be put, or when a job that waits counts as missed, whichever comes first."""
    moments = [tick + MISSED_AFTER_MS for tick in waiting] + [last_ms - AHEAD_MS]
    return min((moment for moment in moments if moment > now_ms), default=None)
