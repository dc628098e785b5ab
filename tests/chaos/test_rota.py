"""Which ticks of a schedule that is ordered about have to have a job, may have one, and must have none."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.chaos.history import Window
from tests.chaos.orders import LATE_S, Order
from tests.chaos.rota import rota_of

SECOND_MS = 1000
LATER_S = 500.0


def change(name: str, at_s: float, answer: str | None = "True", seen_s: float | None = None) -> Order:
    """An order that took from that moment to 0.2 s later; ticks had been put 10 s ahead."""
    words = (str(round(1000 * (at_s + 10.0 if seen_s is None else seen_s))),)
    until_s = at_s + (0.2 if answer is not None else LATE_S)
    return Order(f"cron {name}", "rota", words, at_s, until_s, answer)


def added(at_s: float) -> Order:
    return replace(change("add", at_s, "new"), words=())


def needed_s(*orders: Order, failovers: tuple[Window, ...] = ()) -> list[int]:
    rota = rota_of(orders, SECOND_MS, failovers)
    assert rota.nonsense == []
    return [at_ms // 1000 for at_ms in rota.needed_ms]


def may_s(*orders: Order, failovers: tuple[Window, ...] = ()) -> list[int]:
    rota = rota_of(orders, SECOND_MS, failovers)
    return sorted(at_ms // 1000 for at_ms in [*rota.needed_ms, *rota.allowed_ms])


def test_ticks_are_needed_from_its_declaration_to_its_pause_and_again_from_its_resumption() -> None:
    orders = added(100.5), change("pause", 103.5), change("resume", 106.5), change("remove", 108.5)
    assert needed_s(*orders) == [101, 102, 103, 107, 108]
    assert may_s(*orders) == [101, 102, 103, 107, 108]


def test_a_tick_during_an_order_may_have_a_job_and_need_not() -> None:
    orders = added(100.9), change("pause", 103.9)
    assert needed_s(*orders) == [102, 103]
    assert may_s(*orders) == [101, 102, 103, 104]


def test_what_was_outstanding_when_it_was_paused_need_not_be_made_up() -> None:
    orders = added(100.5), change("pause", 105.5, seen_s=102.5)
    assert needed_s(*orders) == [101, 102]
    assert may_s(*orders) == [101, 102, 103, 104, 105]


def test_another_declaration_lets_it_begin_anew_and_a_paused_one_stays_so() -> None:
    for answer in ("changed", "same"):  # the same may be what a repetition was told
        orders = added(100.5), change("add", 102.9, answer), change("pause", 104.5)
        assert needed_s(*orders) == [101, 102, 104]
        assert may_s(*orders) == [101, 102, 103, 104]
        paused = added(100.5), change("pause", 101.5), change("add", 102.5, answer), change("resume", 104.5)
        assert may_s(*paused, change("pause", 105.5)) == [101, 105]


def test_what_the_repetition_of_an_order_was_told_is_no_nonsense() -> None:
    again = added(100.5), change("remove", 102.5, "False"), change("add", 104.5, "same")
    assert needed_s(*again, change("pause", 106.5)) == [101, 102, 105, 106]


def test_after_an_order_without_an_answer_any_tick_may_have_a_job_until_one_is_surely_later() -> None:
    unsure = added(100.5), change("pause", 102.5, None)
    early = change("resume", 105.5), change("pause", 108.5)  # the lost one may still come after these
    late = change("resume", 113.5), change("pause", 115.5)
    assert needed_s(*unsure, *early, *late) == [101, 102, 114, 115]
    assert may_s(*unsure, *early, *late) == list(range(101, 116))


def test_what_was_answered_within_a_failover_is_not_known() -> None:
    window = Window(102.4, 102.8)
    unsure = replace(change("pause", 102.5), answer=None, until_s=102.5 + LATE_S)
    orders = added(80.5), unsure, change("pause", 113.5)
    assert needed_s(*orders, failovers=(window,)) == list(
        range(81, 88)
    )  # the last ones may not have been put
    assert may_s(*orders, failovers=(window,)) == list(range(81, 114))


@pytest.mark.parametrize(
    "orders",
    [
        (change("pause", 100.5, "True"),),
        (added(100.5), change("pause", 101.5, "False")),
        (added(100.5), change("add", 101.5, "new")),
        (added(100.5), change("remove", 101.5), change("add", 102.5, "changed")),
        (added(100.5), change("remove", 101.5), change("remove", 102.5)),
    ],
)
def test_an_answer_that_cannot_be_is_found(orders: tuple[Order, ...]) -> None:
    assert len(rota_of(orders, SECOND_MS).nonsense) == 1


def test_a_schedule_that_nobody_ever_declared_has_no_ticks() -> None:
    assert may_s() == []
    assert may_s(change("pause", 100.5, "False")) == []
