"""The arithmetic of rate limits: never more than the rate and one burst, and nothing waits for ever."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tests.conformance.bucket_model import Bucket

STEPS = st.lists(st.tuples(st.floats(0, 20), st.integers(1, 30)), min_size=1, max_size=60)


@given(rate=st.floats(0.1, 50), size=st.floats(1, 40), steps=STEPS)
def test_in_any_time_no_more_goes_than_the_rate_one_burst_and_one_last_job(
    rate: float, size: float, steps: list[tuple[float, int]]
) -> None:
    bucket = Bucket(rate, size)
    passed_s, went = 0.0, 0
    for wait_s, cost in steps:
        bucket.wait(wait_s)
        passed_s += wait_s
        if bucket.can(cost):
            bucket.spend(cost)
            went += cost
            assert went <= size + rate * passed_s + max(0, cost - size) + 1e-3


@given(rate=st.floats(0.1, 50), size=st.floats(1, 40), cost=st.integers(1, 10_000))
def test_whatever_a_job_costs_it_goes_once_the_bucket_is_full(rate: float, size: float, cost: int) -> None:
    bucket = Bucket(rate, size)
    bucket.spend(size)
    bucket.wait(size / rate + 1)
    assert bucket.can(cost)
