"""Chaos by fixed seeds: whatever happens, every job ends once, rightly, and with its own result."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.chaos.run.arena import Terms, run_chaos
from tests.chaos.run.report import table
from tests.chaos.run.schedule import Faults, schedule

if TYPE_CHECKING:
    from pathlib import Path

SECONDS = 12.0
"""For each of three runs; `make chaos` takes longer ones."""


@pytest.mark.long
@pytest.mark.timeout(240)
@pytest.mark.parametrize(("seed", "failover"), [(1, False), (2, False), (21, True)])
async def test_whatever_happens_every_job_ends_once_and_rightly(
    seed: int,
    failover: bool,  # noqa: FBT001 - a parameter
    tmp_path: Path,
) -> None:
    arena, found = await run_chaos(Terms(seed, SECONDS, faults=Faults(failover=failover)), tmp_path)

    more = " ARGS=--failover" if failover else ""
    print(f"again: make chaos SEED={seed} SECONDS={SECONDS:g}{more}\n{table(arena, found)}")  # noqa: T201 - shown on failure
    assert found.verdict.violations == {}
    assert found.odd == []
    assert found.verdict.accepted > 5 * SECONDS
    assert sum(arena.nemeses.done.values()) > SECONDS / 2
    assert bool(arena.nemeses.failovers) is failover


def test_the_same_seed_is_the_same_schedule_and_another_one_is_not() -> None:
    assert schedule(7, 60, Faults()) == schedule(7, 60, Faults())
    assert schedule(7, 60, Faults()) != schedule(8, 60, Faults())


def test_a_longer_run_begins_like_a_shorter_one() -> None:
    short = schedule(7, 20, Faults())
    assert schedule(7, 60, Faults())[: len(short)] == short


def test_every_kind_of_fault_comes_up_sooner_or_later() -> None:
    names = {deed.name for deed in schedule(7, 3600, Faults())}
    assert len(names) == 17
    assert {deed.name for deed in schedule(7, 60, Faults(frozenset({"kill", "lose"})))} == {"kill", "lose"}
