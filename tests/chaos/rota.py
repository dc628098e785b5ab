"""The judge of a schedule that operators declare, pause, resume and remove: which ticks have a job. Pure.

Rule: a tick needs its job where the schedule was certainly there and going on at that time, and must have
none where it was certainly not; around each order, and as long as nobody knows what became of one, it may
have one. A tick counts as needed only where it had been seen to before the next order: what is outstanding
goes with the schedule, as it says.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING

from tests.chaos.history import ROUNDING_S
from tests.chaos.orders import LATE_S

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tests.chaos.history import Window
    from tests.chaos.orders import Order

__all__ = ["CHANGES", "Rota", "rota_of"]

CHANGES = ("cron add", "cron pause", "cron resume", "cron remove")
AHEAD_S = 15.0
"""No job is put further ahead of its tick."""


class _State(Enum):
    ABSENT = auto()
    ACTIVE = auto()
    PAUSED = auto()
    UNKNOWN = auto()


@dataclass(slots=True)
class Rota:
    """Which ticks have to have a job, and which may have one, by Redis's clock; and who was told nonsense."""

    needed_ms: list[int] = field(default_factory=list)
    allowed_ms: list[int] = field(default_factory=list)
    nonsense: list[str] = field(default_factory=list)


def rota_of(orders: Iterable[Order], every_ms: int, failovers: Sequence[Window] = ()) -> Rota:
    """Judge each tick.

    Args:
        orders: All that operators asked for; `words` of those in `CHANGES` have the time (ms) up to which
            ticks had been seen to just before, where that was known.
        every_ms: The period.
        failovers: What was put within one of these windows may be gone.
    """
    changes = [order for order in orders if order.name in CHANGES]
    rota = Rota()
    if not changes:
        return rota
    spans = list(_spans(changes, failovers, rota.nonsense))
    last_s = max(order.until_s for order in changes) + AHEAD_S
    first_ms = round(changes[0].asked_s * 1000) // every_ms * every_ms
    for at_ms in range(first_ms, round(last_s * 1000), every_ms):
        at_s = at_ms / 1000
        for state, since_s, until_s in spans:
            if since_s + ROUNDING_S < at_s < until_s - ROUNDING_S:
                if state is _State.ACTIVE:
                    rota.needed_ms.append(at_ms)
                break
        else:
            rota.allowed_ms.append(at_ms)
    return rota


def _spans(
    changes: Sequence[Order], failovers: Sequence[Window], nonsense: list[str]
) -> Iterable[tuple[_State, float, float]]:
    """When the schedule was certainly going on, or certainly not."""
    state, since_s, unsure_until_s = _State.ABSENT, 0.0, 0.0
    for order in changes:
        if order.is_sure and state is _State.ACTIVE and _keeps(order):
            continue
        if state is _State.ACTIVE:
            yield state, since_s, _seen_to_s(order, failovers)
        elif state is not _State.UNKNOWN:
            yield state, since_s, order.asked_s
        if not order.is_sure:
            unsure_until_s = max(unsure_until_s, order.until_s, order.asked_s + LATE_S)
        before, state, since_s = state, _State.UNKNOWN, order.until_s
        if order.is_sure and order.asked_s > unsure_until_s:
            state = _after(order, before)
            if before is not _State.UNKNOWN and not _agrees(order, before):
                nonsense.append(f"{order.name} was told {order.answer} of a schedule that was {before.name}")
    if state in {_State.ABSENT, _State.PAUSED}:
        yield state, since_s, float("inf")


def _keeps(order: Order) -> bool:
    """Whether it leaves one that goes on as it is."""
    return (order.name, order.answer) == ("cron resume", "True")


def _seen_to_s(order: Order, failovers: Sequence[Window]) -> float:
    seen_s = int(order.words[0]) / 1000 if order.words else 0.0
    undone_s = [each.began_s - AHEAD_S for each in failovers if order.is_near(each)]
    return min(order.asked_s, seen_s, *undone_s)


# An answer may be that to a repetition: then the first attempt did what was asked for.


def _after(order: Order, before: _State) -> _State:
    if order.name == "cron add":
        is_new = order.answer == "new" or (order.answer == "same" and before is _State.ABSENT)
        return _State.ACTIVE if is_new else before
    if order.answer == "False":
        return _State.ABSENT
    states = {"cron pause": _State.PAUSED, "cron resume": _State.ACTIVE, "cron remove": _State.ABSENT}
    return states[order.name]


def _agrees(order: Order, before: _State) -> bool:
    was_there = before is not _State.ABSENT
    match order.name, order.answer:
        case ("cron add", "same") | ("cron remove", "False"):
            return True
        case ("cron add", answer):
            return was_there is (answer == "changed")
        case (_, answer):
            return was_there is (answer == "True")
