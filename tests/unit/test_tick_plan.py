"""Plans: every tick gets its job ahead, and missed ticks get what their policy says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch.common.schedules.schedule import Missed, Timetable
from microbatch.common.schedules.ticks import IntervalRule
from microbatch.worker.tick_plan import AHEAD_MS, MISSED_AFTER_MS, Plan, plan

NOW = 1_000_000_000
MINUTE = 60_000
POLICIES: list[Missed] = ["skip", "run_once", "run_all"]


def every(every_ms: int, missed: Missed = "run_once", most: int = 100) -> Timetable:
    return Timetable(IntervalRule(every_ms), missed, most)


def ticks(first: int, last: int, every_ms: int) -> list[int]:
    return list(range(first, last + 1, every_ms))


FIRST = NOW - NOW % MINUTE + MINUTE  # the next whole minute


def test_a_new_schedule_gets_its_next_tick_and_is_looked_at_before_it() -> None:
    planned = plan(every(3_600_000), NOW, [], NOW)
    (tick,) = planned.put
    assert tick % 3_600_000 == 0
    assert NOW < tick <= NOW + 3_600_000
    assert planned == Plan([tick], [], tick, tick - AHEAD_MS, dropped=False)


def test_before_a_tick_comes_the_next_one_is_put() -> None:
    now = FIRST - AHEAD_MS
    planned = plan(every(MINUTE), FIRST, [FIRST], now)
    assert (planned.put, planned.last_ms) == ([FIRST + MINUTE], FIRST + MINUTE)
    assert planned.look_ms == FIRST + MISSED_AFTER_MS  # whether it was taken


def test_short_intervals_are_put_far_enough_ahead() -> None:
    planned = plan(every(1_000), NOW, [], NOW)
    assert planned.put == ticks(NOW + 1_000, NOW + AHEAD_MS + 1_000, 1_000)
    assert planned.look_ms == NOW + 1_000


def test_a_tick_that_is_a_few_seconds_old_and_has_no_job_is_not_missed() -> None:
    planned = plan(every(MINUTE, "skip"), FIRST - MINUTE, [], FIRST + 5_000)
    assert planned.put == [FIRST, FIRST + MINUTE]
    assert not planned.dropped


@pytest.mark.parametrize(
    ("missed", "put", "taken_back", "dropped"),
    [
        ("skip", [], [FIRST], True),
        ("run_once", [FIRST + 4 * MINUTE], [FIRST], True),
        ("run_all", ticks(FIRST + MINUTE, FIRST + 4 * MINUTE, MINUTE), [], False),
    ],
)
def test_after_an_outage(missed: Missed, put: list[int], taken_back: list[int], *, dropped: bool) -> None:
    now = FIRST + 4 * MINUTE + 30_000  # one job had been put, and nobody was there
    planned = plan(every(MINUTE, missed), FIRST, [FIRST], now)
    assert planned.put == [*put, FIRST + 5 * MINUTE]
    assert planned.take_back == taken_back
    assert planned.dropped is dropped


def test_run_once_keeps_the_only_missed_job_and_run_all_keeps_all() -> None:
    now = FIRST + 30_000
    for missed in ("run_once", "run_all"):
        planned = plan(every(MINUTE, missed), FIRST, [FIRST], now)
        assert (planned.put, planned.take_back) == ([FIRST + MINUTE], [])


def test_run_all_is_bounded_and_runs_the_latest() -> None:
    now = FIRST + 100 * MINUTE + 30_000
    planned = plan(every(MINUTE, "run_all", 3), FIRST, [], now)
    assert planned.put == ticks(FIRST + 98 * MINUTE, FIRST + 101 * MINUTE, MINUTE)
    assert planned.dropped


def test_a_late_job_that_stays_is_not_looked_at_all_the_time() -> None:
    now = FIRST + 30_000
    planned = plan(every(MINUTE, "run_all"), FIRST + MINUTE, [FIRST, FIRST + MINUTE], now)
    assert planned.look_ms == FIRST + MINUTE - AHEAD_MS


@given(
    st.sampled_from(POLICIES),
    st.integers(1_000, 3_600_000),
    st.lists(st.integers(1, 2_000), min_size=5, max_size=60),
)
def test_while_somebody_looks_every_tick_gets_its_job_ahead_and_none_is_lost(
    missed: Missed, every_ms: int, looks: list[int]
) -> None:
    """Workers look within two seconds of the moment that the last plan named, and take what is due."""
    timetable, now, last, waiting, put = every(every_ms, missed), NOW, NOW, list[int](), list[int]()
    for late_ms in looks:
        planned = plan(timetable, last, waiting, now)
        assert planned.take_back == []
        assert not planned.dropped
        assert all(tick > now for tick in planned.put)
        assert planned.look_ms is not None
        assert planned.look_ms > now
        put += planned.put
        last, now = planned.last_ms, planned.look_ms + late_ms
        waiting = [tick for tick in (*waiting, *planned.put) if tick > now]
    assert put == ticks(put[0], put[-1], every_ms)
    assert put[0] == next(timetable.rule.after(NOW))


@given(
    st.sampled_from(POLICIES),
    st.integers(1_000, 3_600_000),
    st.integers(1, 5),
    st.lists(st.integers(1, 10_000_000), min_size=1, max_size=12),
)
def test_whatever_outages_come_no_tick_gets_a_second_job_and_some_job_is_always_ahead(
    missed: Missed, every_ms: int, most: int, outages: list[int]
) -> None:
    timetable, now, last, waiting, put = every(every_ms, missed, most), NOW, NOW, list[int](), list[int]()
    for outage_ms in outages:  # nobody takes anything meanwhile
        planned = plan(timetable, last, waiting, now)
        put += planned.put
        assert set(planned.take_back) <= set(waiting)
        assert planned.last_ms > now
        waiting = [tick for tick in (*waiting, *planned.put) if tick not in planned.take_back]
        assert any(tick > now for tick in waiting)
        late = [tick for tick in waiting if tick <= now - MISSED_AFTER_MS]
        assert len(late) <= {"skip": 0, "run_once": 1}.get(missed, len(late))
        assert planned.look_ms is not None
        last, now = planned.last_ms, now + outage_ms
    assert put == sorted(set(put))
