"""One batch with a job that raises and a job that kills its worker: everybody else gets a result."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from tests.chaos.fleet import Fleet
from tests.chaos.kit import Desk, wait_until
from tests.chaos.processors import digest

if TYPE_CHECKING:
    from pathlib import Path

JOBS = 64


@pytest.mark.long
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_of_64_jobs_with_one_poison_and_one_crasher_62_succeed_whatever_the_order(
    desk: Desk, tmp_path: Path, seed: int
) -> None:
    payloads = ["poison", "crasher", *(f"fine {number}" for number in range(JOBS - 2))]
    random.Random(seed).shuffle(payloads)  # noqa: S311 - an order, by seed
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
