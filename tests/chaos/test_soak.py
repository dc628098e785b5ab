"""A short soak: it measures everything that it should, and loses nothing.

Whether something grows is for `make soak` to say: in seconds, what a starting worker opens looks like growth.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.chaos.run.soak import LONG_LIVED, deeds, soak

if TYPE_CHECKING:
    from pathlib import Path

SECONDS = 18.0
GAUGES = {"rss_kib", "fds", "threads", "tasks", "connections", "channels", "memory_kib", "keys"} | {
    "consumers",
    "pending",
    "entries",
}


@pytest.mark.long
@pytest.mark.timeout(180)
async def test_a_short_soak_samples_every_gauge_and_loses_no_job(tmp_path: Path) -> None:
    found, problems = await soak(SECONDS, tmp_path)

    assert {trend.name.rpartition(" ")[2] for trend in found} == GAUGES
    assert all(trend.last > 0 for trend in found if trend.name.startswith(LONG_LIVED))
    assert problems == []


def test_every_quarter_of_a_soak_has_its_share_of_deaths() -> None:
    times = [deed.at_s for deed in deeds(240)]
    quarters = [sum(start <= at_s < start + 60 for at_s in times) for start in range(0, 240, 60)]
    assert max(quarters) - min(quarters) <= 2
