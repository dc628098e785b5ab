"""Pace: a wait has to pay, and idle capacity never waits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.pace_simulation import CALL_MS, JOB_MS, Figures, Fixed, Load, Simulation

from microbatch.worker.arrivals import Arrivals
from microbatch.worker.duration_model import DurationModel, RunSums
from microbatch.worker.pace import Pace

CALLERS = Load(callers=64)


def adaptive(load: Load, slots: int, *, exclusive: bool) -> Figures:
    return Simulation(Pace(100, 10, slots), load, slots, exclusive).run()


def fixed(load: Load, slots: int, *, exclusive: bool, size: int = 100, wait_ms: float = 0) -> Figures:
    return Simulation(Fixed(size, wait_ms, slots), load, slots, exclusive).run()


@pytest.mark.parametrize("slots", [1, 2])
def test_callers_in_a_closed_loop_ride_together_although_nobody_says_how_many_they_are(slots: int) -> None:
    ours = adaptive(CALLERS, slots, exclusive=True)
    told = fixed(CALLERS, slots, exclusive=True, size=64, wait_ms=10)
    assert ours.jobs_per_s > 0.85 * told.jobs_per_s
    assert ours.jobs_per_s > 1.3 * fixed(CALLERS, slots, exclusive=True).jobs_per_s


def test_where_runs_do_not_hold_each_other_up_both_slots_are_used() -> None:
    ours = adaptive(CALLERS, 2, exclusive=False)
    assert ours.jobs_per_s > 1.1 * fixed(CALLERS, 2, exclusive=False).jobs_per_s
    assert ours.mean_batch < 40


@pytest.mark.parametrize("exclusive", [True, False])
@pytest.mark.parametrize("per_s", [200, 500, 2_000])
def test_arrivals_by_chance_lose_nothing_against_no_wait(per_s: int, *, exclusive: bool) -> None:
    load, slots = Load(poisson_per_s=per_s), 1 if exclusive else 2
    ours, eager = adaptive(load, slots, exclusive=exclusive), fixed(load, slots, exclusive=exclusive)
    assert ours.p95_ms <= eager.p95_ms * 1.02
    assert ours.jobs_per_s >= eager.jobs_per_s * 0.99


def test_a_lone_job_on_an_idle_queue_leaves_at_once() -> None:
    pace = Pace(100, 10, 1)
    for number in range(50):  # bursts, so that a wait would be known to pay
        now_ms = number * 10.0
        pace.claimed(str(number), [int(now_ms + each / 8) for each in range(24)], now_ms + 3)
        pace.ended(str(number), now_ms + 8)
        pace.freed(now_ms + 9)
    assert pace.plan(10_000.0).hold_ms == 0


def test_a_wait_that_has_begun_goes_on_and_ends() -> None:
    pace = _taught()
    assert pace.plan(1_000.0).hold_ms > 1
    first = pace.plan(1_000.5)
    assert 0 < first.hold_ms < 10
    assert pace.plan(1_000.5 + first.hold_ms).hold_ms == 0
    assert pace.plan(1_020.0).hold_ms == 0
    pace.idle()  # the next one is decided afresh, long after the last batch: at once
    assert pace.plan(1_020.0).hold_ms == 0


def _taught() -> Pace:
    """A pace that knows: 30 wait when a slot is free, and 30 come back within 3 ms. It is 1000 ms."""
    pace = Pace(100, 10, 1)
    for freed_ms in range(400, 1_000, 20):
        pace.freed(freed_ms)
        pace.claimed(str(freed_ms), [freed_ms - 19 + each % 3 for each in range(30)], freed_ms + 0.5)
        pace.ended(str(freed_ms), freed_ms + 9)
    pace.freed(1_000.0)
    return pace


def test_the_target_bounds_the_size_so_that_two_runs_fit_into_it() -> None:
    pace = Pace(1_000, 10, 1, target_p95_ms=20)
    now_ms = 0.0
    for size in (10, 100, 50, 200, 20, 150, 80):
        pace.claimed(str(size), [int(now_ms)] * size, now_ms)
        now_ms += CALL_MS + JOB_MS * size
        pace.ended(str(size), now_ms)
        pace.freed(now_ms)
    assert pace.plan(now_ms + 100).size == pytest.approx((20 / 2 - CALL_MS) / JOB_MS, abs=2)


def test_a_worker_that_just_came_knows_what_the_fleet_knows() -> None:
    teacher, pupil = Pace(1_000, 10, 1, target_p95_ms=20), Pace(1_000, 10, 1, target_p95_ms=20)
    for size in (10, 100, 50, 200, 20, 150):
        teacher.claimed("b", [0] * size, 0.0)
        teacher.ended("b", CALL_MS + JOB_MS * size)
    assert pupil.model is None
    pupil.hear(teacher.take_news())
    assert pupil.model is not None
    assert pupil.model.call_ms == pytest.approx(CALL_MS, rel=0.01)
    assert teacher.take_news() == RunSums()


@given(
    call_ms=st.floats(0.1, 1_000),
    job_ms=st.floats(0.001, 100),
    sizes=st.lists(st.integers(1, 10_000), min_size=6, max_size=60),
)
def test_the_model_finds_what_a_call_and_a_job_cost(call_ms: float, job_ms: float, sizes: list[int]) -> None:
    sums = RunSums()
    for size in sizes:
        sums = sums.plus(RunSums.of(size, call_ms + job_ms * size))
    model = DurationModel.fitted(sums)
    assert model is not None
    mean = sum(sizes) / len(sizes)
    assert model.duration_ms(mean) == pytest.approx(call_ms + job_ms * mean, rel=1e-6)
    assert model.call_ms >= -1e-6
    assert model.job_ms >= 0


@given(durations=st.lists(st.tuples(st.integers(1, 100), st.floats(0, 10_000)), min_size=5, max_size=50))
def test_no_run_makes_the_model_promise_a_negative_share(durations: list[tuple[int, float]]) -> None:
    sums = RunSums()
    for size, duration_ms in durations:
        sums = sums.faded(0.98).plus(RunSums.of(size, duration_ms))
    model = DurationModel.fitted(sums)
    if model is not None:
        assert model.job_ms >= 0
        assert model.call_ms >= -1e-6
        assert model.most_jobs(50.0) >= 1


def test_arrivals_count_what_a_wait_would_have_found_although_none_was_waited() -> None:
    arrivals = Arrivals(5)
    arrivals.opened(100.0)
    arrivals.claimed([90, 95], 101.0)
    arrivals.claimed([101, 101, 103, 109], 120.0)
    assert arrivals.found == [2.0, 2.0, 4.0, 4.0, 5.0, 5.0]


def test_where_nothing_waits_the_first_arrival_opens() -> None:
    arrivals = Arrivals(3)
    arrivals.opened(100.0)
    arrivals.claimed([150], 150.0)
    arrivals.claimed([151, 152], 160.0)
    assert arrivals.found == [1.0, 1.0, 2.0, 3.0]
