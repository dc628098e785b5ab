"""Recurring jobs while the workers that see to them are killed: each tick gets one job, and it ends once."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from tests.chaos.fleet import Fleet
from tests.chaos.kit import Desk, wait_until
from tests.chaos.processors import digest, every_second

from microbatch.common.schedules.schedule import tick_job

if TYPE_CHECKING:
    from pathlib import Path

TICKS = 10


def _now_ms(desk: Desk) -> int:
    seconds, micros = desk.redis.time()
    return int(seconds) * 1000 + int(micros) // 1000


@pytest.mark.long
def test_every_tick_has_one_job_that_ends_while_workers_are_killed(desk: Desk, tmp_path: Path) -> None:
    chance = random.Random(7)  # noqa: S311 - whom to kill
    with Fleet(desk, tmp_path, "digests tests.chaos.processors:every_second", max_wait_ms=0) as fleet:
        for _ in range(3):
            fleet.start()
        for member in fleet.members:
            member.ready()
        first = _now_ms(desk) // 1000 + 1
        ids = [tick_job("tick", (first + n) * 1000) for n in range(TICKS)]
        for nth in range(0, TICKS, 2):  # one dies, and another one starts, every two ticks
            wait_until(lambda nth=nth: _now_ms(desk) > (first + nth) * 1000, 30)  # type: ignore[misc]
            chance.choice(fleet.living).kill()
            fleet.start()
        wait_until(lambda: desk.are_final(ids), 30, "the end of every tick's job")
        records = [desk.record(local) for local in ids]

    assert [desk.result(local) for local in ids] == [digest(every_second.payload)] * TICKS
    known = {key.rpartition(b"job:")[2].decode() for key in desk.redis.scan_iter(desk.keys.job("*"))}
    assert all(local.startswith("tick:") for local in known)  # nothing but ticks, each under its own id
    assert all(local.endswith("Z") for local in known)
    assert all(int(record["attempt"]) <= 3 for record in records)
