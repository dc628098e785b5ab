"""Growth is found, and what merely moves is no growth."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.chaos.run.trends import Sample, trends


def samples(*values: float, name: str = "worker-0 fds") -> list[Sample]:
    return [Sample(float(second), {name: value}) for second, value in enumerate(values)]


def test_what_stays_does_not_grow() -> None:
    (trend,) = trends(samples(*[10.0] * 40))
    assert (trend.first, trend.last, trend.per_minute, trend.grows) == (10, 10, 0, False)


def test_a_leak_of_one_descriptor_a_second_grows_by_sixty_a_minute() -> None:
    (trend,) = trends(samples(*map(float, range(100))))
    assert trend.grows
    assert trend.per_minute == pytest.approx(60)


def test_warming_up_is_no_growth() -> None:
    (trend,) = trends(samples(*[1.0] * 29, *[100.0] * 71))
    assert not trend.grows


def test_a_burst_in_the_end_is_no_growth() -> None:
    (trend,) = trends(samples(*[10.0] * 97, *[500.0] * 3))
    assert not trend.grows


def test_of_memory_a_slope_is_found_that_a_short_run_could_not_tell_from_warming_up() -> None:
    def grows(minutes: int, kib_per_minute: float) -> bool:
        values = [50_000 + kib_per_minute * second / 60 for second in range(minutes * 60)]
        (trend,) = trends(samples(*values, name="worker-0 rss_kib"))
        assert trend.per_minute == pytest.approx(kib_per_minute)
        return trend.grows

    assert not grows(minutes=2, kib_per_minute=1024)
    assert grows(minutes=10, kib_per_minute=1024)
    assert grows(minutes=10, kib_per_minute=640)  # 180 bytes for each of 60 jobs a second
    assert not grows(minutes=10, kib_per_minute=200)
    assert grows(minutes=60, kib_per_minute=300)


def test_a_worker_that_starts_in_a_quarter_of_seconds_is_no_growth_and_of_minutes_it_is() -> None:
    def grows(seconds: int) -> bool:
        values = [20.0] * (seconds // 2) + [36.0] * (seconds // 2)
        (trend,) = trends(samples(*values, name="redis connections"))
        return trend.grows

    assert not grows(24)
    assert grows(240)


def test_moments_without_a_value_do_not_count() -> None:
    some = samples(*[10.0] * 40)
    some[30:34] = [Sample(sample.at_s, {}) for sample in some[30:34]]
    (trend,) = trends(some)
    assert (trend.last, trend.grows) == (10, False)


def test_too_few_samples_are_no_verdict() -> None:
    with pytest.raises(ValueError, match="soak for longer"):
        trends(samples(*[1.0] * 5))


@given(
    st.lists(st.floats(50, 60), min_size=40, max_size=80),
    st.sampled_from(["worker-0 rss_kib", "redis job keys", "mixed consumers", "redis connections"]),
)
def test_a_steady_rise_above_the_noise_is_found_in_every_gauge(noise: list[float], name: str) -> None:
    rising = [value + 200.0 * index * (1000 if "kib" in name else 1) for index, value in enumerate(noise)]
    assert [trend.grows for trend in trends(samples(*rising, name=name))] == [True]
