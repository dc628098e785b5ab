"""Limits: which names and values an operator may write, and what of a broken one is heeded."""

from __future__ import annotations

import pytest

from microbatch.common.limits import LIMITS, BatchLimits, check_limit


@pytest.mark.parametrize(
    ("name", "value", "written"),
    [
        ("max_batch_size", "64", "64"),
        ("max_wait_ms", "2.50", "2.5"),
        ("max_wait_ms", "0", "0"),
        ("jobs_per_s@model-a", "1e3", "1000"),
        ("batches_per_s@*", "0.5", "0.5"),
        ("weight@gold", "2", "2"),
        ("burst_s", "", ""),
    ],
)
def test_a_limit_is_written_in_plain_digits(name: str, value: str, written: str) -> None:
    assert check_limit(name, value) == written


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_batch_size", "0"),
        ("max_batch_size", "1.5"),
        ("max_batch_size", "nan"),
        ("max_wait_ms", "-1"),
        ("max_wait_ms", "inf"),
        ("max_wait_ms", "soon"),
        ("max_queue_length@key", "1"),
        ("jobs_per_s@no key", "1"),
        ("jobs_per_s@", "1"),
        ("weight", "1"),
        ("speed", "1"),
    ],
)
def test_what_is_no_limit_is_refused(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        check_limit(name, value)


def test_what_is_broken_in_redis_says_nothing() -> None:
    assert BatchLimits.parse(b"8", b"2.5") == BatchLimits(8, 2.5)
    assert BatchLimits.parse(b"", b"") == BatchLimits.parse(b"\xff", b"-1") == BatchLimits()


def test_every_limit_says_what_it_means() -> None:
    assert all(limit.meaning and limit.least < limit.most for limit in LIMITS.values())
