"""What operators asked for, and what they were told: lines of journals as orders. Pure.

Rule: an order that was not answered may have taken effect at any time from when it was asked until `LATE_S`
later, or never: its request can lie in a stalled link for longer than its operator lives. What was answered
while a failover went on may have been undone, so that nobody knows either.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tests.chaos.history import Window
    from tests.chaos.run.journal import Line

__all__ = ["ANSWERED", "ASKED", "LATE_S", "Order", "orders_of"]

ASKED, ANSWERED = "asked", "answered"
"""The kinds of an order's two lines."""

LATE_S = 10.0


@dataclass(frozen=True, slots=True)
class Order:
    """One order.

    Attributes:
        name: What was asked for, such as `queue purge`.
        target: Of what: a queue, a schedule.
        words: What else was said.
        asked_s: It had no effect before.
        until_s: It had no effect afterwards.
        answer: None: nobody knows whether it had any.
    """

    name: str
    target: str
    words: tuple[str, ...]
    asked_s: float
    until_s: float
    answer: str | None = None

    @property
    def is_sure(self) -> bool:
        return self.answer is not None

    def is_near(self, window: Window) -> bool:
        return self.asked_s <= window.ended_s and self.until_s >= window.began_s


def orders_of(lines: Iterable[Line], failovers: Sequence[Window] = ()) -> list[Order]:
    """All orders, by when they were asked; whoever asks waits for the answer before it asks again."""
    found: list[Order] = []
    open_by: dict[str, int] = {}
    for line in lines:
        if line.what == ASKED:
            target, *words = line.detail.split(" ")
            order = Order(line.job, target, tuple(words), line.at_s, line.at_s + LATE_S)
            open_by[line.by] = len(found)
            found.append(order)
        elif line.what == ANSWERED and line.by in open_by:
            number = open_by.pop(line.by)
            asked = found[number]
            sure = Order(asked.name, asked.target, asked.words, asked.asked_s, line.at_s, line.detail)
            if any(sure.is_near(window) for window in failovers):
                sure = Order(asked.name, asked.target, asked.words, asked.asked_s, asked.until_s)
            found[number] = sure
    return sorted(found, key=lambda order: order.asked_s)
