"""Ledger, bell and vitality: what is in flight, when to look, and who may call whom dead."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.chaos.kit import until

from microbatch.worker.bell import Bell
from microbatch.worker.isolation import Isolation
from microbatch.worker.ledger import UNSEEN_KEPT, Ledger
from microbatch.worker.vitality import BEATS_BEFORE_JUDGING, Vitality, beat_interval_s, pause_s

# --- ledger ---------------------------------------------------------------------------------


async def _forever() -> None:
    await asyncio.Event().wait()


async def test_a_batch_is_known_from_before_its_claim_until_it_is_struck() -> None:
    rings: list[int] = []
    ledger = Ledger(1, lambda: rings.append(1), Isolation())
    task = asyncio.create_task(_forever())

    ledger.expect("b1")
    assert (ledger.batch_ids(), ledger.claiming, ledger.has_free_slot) == (["b1"], "b1", True)
    ledger.enter("b1", task)
    assert (ledger.batch_ids(), ledger.claiming, ledger.has_free_slot) == (["b1"], None, False)
    ledger.expect("b2")
    assert ledger.batch_ids() == ["b1", "b2"]
    ledger.expect(None)
    ledger.strike("b1")
    ledger.strike("b1")
    assert (ledger.batch_ids(), ledger.running, ledger.tasks(), ledger.has_free_slot) == ([], 0, {}, True)
    assert rings
    task.cancel()


async def test_slots_are_counted_one_per_batch() -> None:
    ledger = Ledger(2, lambda: None, Isolation())
    tasks = [asyncio.create_task(_forever()) for _ in range(2)]

    free = []
    for number, task in enumerate(tasks):
        free.append(ledger.has_free_slot)
        ledger.enter(f"b{number}", task)
    free.append(ledger.has_free_slot)

    assert free == [True, True, False]
    for task in tasks:
        task.cancel()


async def test_a_parked_batch_is_held_without_a_slot_until_it_is_struck() -> None:
    ledger = Ledger(1, lambda: None, Isolation())
    task = asyncio.create_task(_forever())
    ledger.enter("b1", task)

    ledger.park("b1")
    assert (ledger.has_free_slot, ledger.has_parked, ledger.running) == (True, True, 0)
    assert ledger.batch_ids() == ["b1"]  # the heartbeat must not take it for an orphan
    ledger.strike("b1")
    assert (ledger.batch_ids(), ledger.has_parked, ledger.running) == ([], False, 0)
    task.cancel()


async def test_a_claim_that_is_abandoned_is_held_no_more_and_known_as_unseen_for_a_while() -> None:
    ledger = Ledger(1, lambda: None, Isolation())
    ledger.abandon()  # nothing is on its way
    ledger.expect("b1")
    ledger.abandon()

    assert (ledger.batch_ids(), ledger.is_unseen("b1"), ledger.is_unseen("b2")) == ([], True, False)
    for number in range(UNSEEN_KEPT):
        ledger.expect(f"later {number}")
        ledger.abandon()
    assert (ledger.is_unseen("b1"), ledger.is_unseen("later 0")) == (False, True)


# --- bell -----------------------------------------------------------------------------------


async def test_a_ring_between_silence_and_wait_is_heard() -> None:
    bell = Bell()
    bell.ring()
    bell.silence()
    assert not bell.is_rung

    bell.ring()

    await asyncio.wait_for(bell.wait(), 1)
    await asyncio.wait_for(bell.wait(60), 1)


async def test_waiting_ends_with_the_time_or_with_the_ring_whichever_comes_first() -> None:
    bell = Bell()
    await asyncio.wait_for(bell.wait(0.001), 1)

    bell.silence()
    waiting = asyncio.create_task(bell.wait(60))
    await asyncio.sleep(0)
    assert not waiting.done()
    bell.ring()
    await until(waiting.done)


async def test_a_wait_that_was_cancelled_leaves_no_timer_behind() -> None:
    bell = Bell()
    waiting = asyncio.create_task(bell.wait(0.01))
    await asyncio.sleep(0)
    waiting.cancel()

    await asyncio.gather(waiting, return_exceptions=True)
    await asyncio.sleep(0.03)  # longer than the timer: it would ring now

    assert not bell.is_rung


# --- vitality -------------------------------------------------------------------------------


@given(st.floats(1, 3600))
def test_there_are_four_beats_within_the_limit_and_a_look_every_second(limit_s: float) -> None:
    interval_s = beat_interval_s(limit_s)

    assert 0 < interval_s * 4 <= limit_s * 1.000001
    assert interval_s < 1
    assert 1 / interval_s <= 4


def test_the_default_limit_costs_less_than_two_calls_a_second() -> None:
    assert 1 / beat_interval_s(10) < 2


@pytest.mark.parametrize(("idle_s", "stalled"), [(0, False), (29.9, False), (30.1, True)])
def test_a_loop_that_has_not_ticked_for_the_limit_is_stalled(idle_s: float, stalled: bool) -> None:  # noqa: FBT001 - a parameter of the table
    vitality = Vitality(30, 10, 100)
    vitality.ticked(200)

    assert vitality.is_stalled(200 + idle_s) is stalled


@given(
    limit_s=st.floats(1, 60),
    steps=st.lists(st.tuples(st.booleans(), st.floats(0, 120)), max_size=40),
)
def test_a_worker_judges_only_after_enough_unbroken_beats_without_a_long_gap(
    limit_s: float, steps: list[tuple[bool, float]]
) -> None:
    vitality = Vitality(30, limit_s, 0)
    now_s, unbroken = 0.0, 0
    for succeeds, gap_s in steps:
        now_s += gap_s
        vitality.beat_begins(now_s)
        if gap_s > limit_s / 2 * 1.000001:
            unbroken = 0
            assert not vitality.may_judge  # others may have been frozen with us
        assert vitality.may_judge == (unbroken > BEATS_BEFORE_JUDGING) or abs(gap_s - limit_s / 2) < 0.001
        if succeeds:
            vitality.beat_succeeded()
        else:
            vitality.beat_failed()
        unbroken = unbroken + 1 if succeeds else 0


@given(st.floats(1, 3600), st.floats(0, 10_000))
def test_after_a_freeze_that_made_the_others_look_dead_it_does_not_judge_at_once(
    limit_s: float, frozen_s: float
) -> None:
    interval_s = beat_interval_s(limit_s)
    vitality = Vitality(30, limit_s, 0)
    now_s = 0.0
    for _ in range(10):
        now_s += interval_s
        vitality.beat_begins(now_s)
        vitality.beat_succeeded()
    assert vitality.may_judge

    vitality.beat_begins(now_s + interval_s + frozen_s)

    others_look_dead = frozen_s >= limit_s - interval_s  # they have beaten at most one interval before
    assert not (others_look_dead and vitality.may_judge)


def test_with_several_queues_each_is_looked_at_once_a_second() -> None:
    assert beat_interval_s(10, queues=1) == 0.7
    assert beat_interval_s(10, queues=2) == beat_interval_s(10, queues=9) == 1.0
    assert beat_interval_s(1, queues=2) == 0.25


def test_a_beat_comes_early_where_a_silent_worker_is_about_to_count_as_dead() -> None:
    assert pause_s(1.0, None, 0.05) == 1.0
    assert pause_s(1.0, 8.5, 0.05) == 1.0
    assert pause_s(1.0, 0.3, 0.05) == pytest.approx(0.35)
    assert pause_s(1.0, 0.0, 0.05) == pytest.approx(0.05)
