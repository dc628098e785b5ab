"""One batch with a job that raises and a job that kills its worker: everybody else gets a result."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.chaos.fleet import Fleet
from tests.chaos.kit import Desk, wait_until
from tests.chaos.processors import digest

if TYPE_CHECKING:
    from pathlib import Path

JOBS = 64


@pytest.mark.long
def test_of_64_jobs_with_one_poison_and_one_crasher_62_succeed(desk: Desk, tmp_path: Path) -> None:
    # Far from each other, so that no half has both; other orders are tried without processes.
    payloads = ["crasher", *(f"fine {number}" for number in range(JOBS - 2)), "poison"]
    with Fleet(desk, tmp_path, "raises_or_kills", max_batch_size=JOBS, max_wait_ms=0) as fleet:
        ids = desk.submit(*payloads)
        member = fleet.start()

        def all_final() -> bool:  # with the supervisor that every deployment has
            nonlocal member
            if member.process.poll() is not None:
                member = fleet.start()
            return desk.are_final(ids)

        wait_until(all_final, 60, "the end of all jobs")
        wait_until(desk.is_clean)

    ended = dict(zip(payloads, ids, strict=True))
    assert desk.error(ended.pop("poison"))["type"] == "ValueError"
    assert desk.error(ended.pop("crasher"))["type"] == "WorkerLost"
    assert {payload: desk.result(job) for payload, job in ended.items()} == {
        payload: digest(payload) for payload in ended
    }
    assert desk.status().dead == 2
