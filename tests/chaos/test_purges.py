"""The judge of purges finds what was purged although it ran, and what was spared although it waited."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.chaos.history import Event, Outcome, What, Window
from tests.chaos.orders import LATE_S, Order
from tests.chaos.purges import PURGE, purge_faults, purged
from tests.chaos.run.observer import Move, Record

TOLD = Order(PURGE, "q", (), 10.0, 11.0, "7")
UNTOLD = Order(PURGE, "q", (), 10.0, 10.0 + LATE_S)
CANCELLED = Record(Outcome("cancelled", None), 10.5, 9.0)
DONE = Record(Outcome("succeeded", "x"), 30.0, 9.0, claimed_s=29.0)


def began(at_s: float, attempt: int = 1) -> Event:
    return Event(What.BEGAN, "q/a", "worker-1", at_s=at_s, detail=str(attempt))


@pytest.mark.parametrize(
    ("order", "queue", "ended_s", "is_one"),
    [
        (TOLD, "q", 10.5, True),
        (TOLD, "q", 9.9, False),
        (TOLD, "q", 11.1, False),
        (TOLD, "other", 10.5, False),
        (UNTOLD, "q", 19.9, True),
        (UNTOLD, "q", 20.1, False),
        (replace(TOLD, name="dead purge"), "q", 10.5, False),
    ],
)
def test_a_purge_explains_what_was_cancelled_in_its_queue_while_it_lasted(
    order: Order, queue: str, ended_s: float, *, is_one: bool
) -> None:
    records = {f"{queue}/a": replace(CANCELLED, ended_s=ended_s)}
    assert bool(purged([order], records, [])) is is_one


def test_a_job_that_waited_may_be_purged_also_after_runs_that_were_over() -> None:
    assert purge_faults([TOLD], {"q/a": CANCELLED}, []) == []
    again = replace(CANCELLED, moves=(Move("retried", 1), Move("promoted", 0), Move("taken over", 2)))
    assert purge_faults([TOLD], {"q/a": again}, [began(9.1), began(9.5, 2)]) == []


@pytest.mark.parametrize("moves", [(), (Move("retried", 1),), (Move("promoted", 0), Move("handed back", 1))])
def test_a_job_that_was_purged_while_it_ran_is_found(moves: tuple[Move, ...]) -> None:
    running = replace(CANCELLED, moves=moves)
    attempt = 1 + sum(move.event != "promoted" for move in moves)
    runs = [began(9.0 + number / 10, number) for number in range(1, attempt + 1)]
    (found,) = purge_faults([TOLD], {"q/a": running}, runs)
    assert found == f"q/a was purged while its attempt {attempt} ran"


def test_whoever_may_cancel_a_job_may_do_so_while_it_runs() -> None:
    assert purge_faults([TOLD], {"q/a": CANCELLED}, [began(9.5)], cancellable={"q/a"}) == []


def test_a_run_whose_claim_a_failover_undid_may_be_purged() -> None:
    windows = [Window(9.4, 9.6)]
    assert purge_faults([TOLD], {"q/a": CANCELLED}, [began(9.5)], failovers=windows) == []
    assert len(purge_faults([TOLD], {"q/a": CANCELLED}, [began(9.3)], failovers=windows)) == 1


def test_a_job_that_waited_before_and_after_a_purge_was_spared_wrongly() -> None:
    (found,) = purge_faults([TOLD], {"q/a": DONE}, [])
    assert found == "q/a waited while q was purged, and ran all the same"
    promoted = replace(DONE, moves=(Move("promoted", 0),))
    assert len(purge_faults([TOLD], {"q/a": promoted}, [])) == 1


@pytest.mark.parametrize(
    "record",
    [
        replace(DONE, accepted_s=10.5),  # it may have come too late for the purge
        replace(DONE, claimed_s=10.9),  # it may have been claimed before the purge saw it
        replace(DONE, moves=(Move("retried", 1),)),  # it may have run meanwhile
        replace(DONE, past=((Outcome("failed", "E"), 10.5),)),
        replace(DONE, claimed_s=0.0),  # it expired
    ],
)
def test_whatever_may_not_have_waited_may_be_spared(record: Record) -> None:
    assert purge_faults([TOLD], {"q/a": record}, []) == []


def test_the_job_of_a_tick_waits_from_its_time_on() -> None:
    ticks_s = {"q/a": 10.5}
    assert purge_faults([TOLD], {"q/a": DONE}, [], ticks_s=ticks_s) == []
    assert len(purge_faults([TOLD], {"q/a": DONE}, [], ticks_s={"q/a": 9.5})) == 1
    (found,) = purge_faults([TOLD], {"q/a": replace(CANCELLED, ended_s=10.2)}, [], ticks_s=ticks_s)
    assert found == "q/a was purged before its tick"


def test_a_purge_of_which_nobody_knows_whether_it_took_place_may_spare_anything() -> None:
    assert purge_faults([UNTOLD], {"q/a": DONE}, []) == []
    assert purge_faults([TOLD], {"q/a": DONE}, [], failovers=[Window(10.9, 12.0)]) == []


def test_what_a_lost_primary_purged_may_have_ended_otherwise_with_its_heir() -> None:
    seen = Event(What.SEEN, "q/a", "waiter-1", Outcome("cancelled", None), 11.5)
    assert purged([TOLD], {"q/a": DONE}, [seen], [Window(10.2, 12.0)]) == {"q/a"}
    assert purged([TOLD], {"q/a": DONE}, [seen]) == set()
