from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch.common.distribution import Distribution, quantile

BOUNDS = (1.0, 2.0, 4.0)


def test_a_value_on_a_bound_belongs_below_it() -> None:
    seen = Distribution(BOUNDS)
    seen.add_thousandths([99_000, 500, 1_000, 4_000, 1_500])
    assert seen.counts == [2, 1, 1, 1]
    assert seen.total == 106.0
    assert seen.cumulative() == [(1.0, 2), (2.0, 3), (4.0, 4), (math.inf, 5)]


@given(st.lists(st.integers(0, 10_000)))
def test_many_at_once_are_counted_as_one_by_one(values: list[int]) -> None:
    at_once, singly = Distribution(BOUNDS), Distribution(BOUNDS)
    at_once.add_thousandths(values)
    for value in values:
        singly.add(value / 1000)
    assert at_once.counts == singly.counts
    assert at_once.total == pytest.approx(singly.total)


@pytest.mark.parametrize(
    ("counts", "share", "value"),
    [
        ([0, 0, 0, 0], 0.5, None),
        ([10, 0, 0, 0], 0.5, 0.5),
        ([0, 0, 10, 0], 0.5, 3.0),
        ([5, 0, 5, 0], 0.95, 3.8),
        ([0, 0, 0, 7], 0.5, 4.0),
    ],
)
def test_a_quantile_is_linear_within_its_range(counts: list[int], share: float, value: float | None) -> None:
    found = quantile(BOUNDS, counts, share)
    assert found == (None if value is None else pytest.approx(value))
