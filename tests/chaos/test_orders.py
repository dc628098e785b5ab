"""Lines of journals become orders: with their answers, or as what nobody knows."""

from __future__ import annotations

from tests.chaos.history import Window
from tests.chaos.orders import ANSWERED, ASKED, LATE_S, Order, orders_of
from tests.chaos.run.journal import Line


def asked(at_s: float, name: str, detail: str, by: str = "operator-1") -> Line:
    return Line(at_s, ASKED, name, by, None, detail)


def answered(at_s: float, answer: str, by: str = "operator-1") -> Line:
    return Line(at_s, ANSWERED, "", by, None, answer)


def test_each_order_has_the_answer_that_came_next_to_whoever_asked() -> None:
    lines = [
        asked(1.0, "queue purge", "q"),
        asked(1.5, "dead purge", "q 1-0=q/a 2-0=q/b", "operator-2"),
        answered(2.0, "3"),
        answered(2.5, "2", "operator-2"),
    ]
    assert orders_of(lines) == [
        Order("queue purge", "q", (), 1.0, 2.0, "3"),
        Order("dead purge", "q", ("1-0=q/a", "2-0=q/b"), 1.5, 2.5, "2"),
    ]


def test_an_order_without_an_answer_may_take_effect_later() -> None:
    lines = [asked(1.0, "queue purge", "q"), asked(4.0, "cron pause", "rota"), answered(5.0, "True")]
    lost, told = orders_of(lines)
    assert (lost.until_s, lost.is_sure) == (1.0 + LATE_S, False)
    assert (told.until_s, told.is_sure) == (5.0, True)


def test_an_answer_of_a_lost_primary_is_none() -> None:
    lines = [asked(1.0, "queue purge", "q"), answered(2.0, "3")]
    for window, is_sure in ((Window(1.9, 3.0), False), (Window(0.5, 1.1), False), (Window(2.1, 3.0), True)):
        (found,) = orders_of(lines, [window])
        assert found.is_sure is is_sure
