"""Halving a failed batch: each culprit found, each innocent answered, in the promised number of runs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch.worker.halving import halves

if TYPE_CHECKING:
    from collections.abc import Callable

    from microbatch.worker.halving import Ending


@st.composite
def batches(draw: st.DrawFn) -> tuple[int, frozenset[int]]:
    """The size of a batch, and who in it is to blame."""
    size = draw(st.integers(2, 300))
    return size, frozenset(draw(st.sets(st.integers(0, size - 1), min_size=1)))


def play(size: int, ending_of: Callable[[range], Ending]) -> list[tuple[range, Ending]]:
    """The runs that the plan asks for, and how each ended."""
    runs: list[tuple[range, Ending]] = []
    plan = halves(0, size)
    part = range(*next(plan))
    while True:
        runs.append((part, ending_of(part)))
        try:
            part = range(*plan.send(runs[-1][1]))
        except StopIteration:
            return runs


def of(culprits: frozenset[int]) -> Callable[[range], Ending]:
    return lambda part: "raised" if culprits & set(part) else "clean"


@given(batches())
def test_culprits_stand_alone_and_innocents_succeed_within_the_promised_runs(
    batch: tuple[int, frozenset[int]],
) -> None:
    size, culprits = batch
    runs = play(size, of(culprits))

    answered = [job for part, ending in runs if ending == "clean" or len(part) == 1 for job in part]
    assert answered == list(range(size))
    assert {part[0] for part, ending in runs if ending == "raised" and len(part) == 1} == culprits
    assert len(runs) <= 2 * len(culprits) * math.log2(size)


@given(batches())
def test_no_part_is_run_that_is_known_to_raise(batch: tuple[int, frozenset[int]]) -> None:
    size, culprits = batch
    runs = play(size, of(culprits))

    clean: set[int] = set()
    for part, ending in runs:
        known_bad = set(range(size)) - clean
        assert len(part) == 1 or set(part) != known_bad
        clean |= set(part) if ending == "clean" else set()


@pytest.mark.parametrize("size", [2, 3, 7, 64])
def test_when_the_parts_succeed_after_all_nobody_is_blamed(size: int) -> None:
    runs = play(size, lambda _part: "clean")

    assert [job for part, _ in runs for job in part] == list(range(size))
    assert {ending for _, ending in runs} == {"clean"}


def test_a_part_with_one_verdict_for_all_is_not_split_and_clears_nobody() -> None:
    runs = play(8, lambda part: "decided" if part[0] == 0 else "clean")

    assert [list(part) for part, _ in runs] == [[0, 1, 2, 3], [4, 5, 6, 7]]
