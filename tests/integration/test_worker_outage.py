"""An outage that is longer than the heartbeat limit: nobody who lives is called dead when Redis is back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.chaos.kit import Desk, Recorder, desk_at, quick, until

from microbatch.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Iterator

LIMIT_S = 1.0
OUTAGE_S = 2.5 * LIMIT_S


@pytest.fixture
def desk(redis_url: str) -> Iterator[Desk]:
    with desk_at(redis_url) as made:
        yield made


def may_judge(worker: Worker) -> bool:
    return worker.heartbeat is not None and worker.heartbeat._vitality.may_judge


async def test_after_a_long_outage_no_worker_takes_over_from_one_that_lives(desk: Desk) -> None:
    settings = quick(desk.url, heartbeat_limit_s=LIMIT_S, command_timeout_s=0.4)
    recorders = [Recorder(max_batch_size=1, max_wait_ms=0, concurrency=1) for _ in range(2)]
    for recorder in recorders:
        recorder.gate.clear()
    async with (
        Worker([recorders[0]], settings=settings) as one,
        Worker([recorders[1]], settings=settings) as two,
    ):
        jobs = desk.submit(1, 2)
        await until(lambda: all(recorder.running for recorder in recorders))
        await until(lambda: may_judge(one) and may_judge(two))

        desk.redis.client_pause(round(OUTAGE_S * 1000), all=True)
        await until(lambda: not may_judge(one) and not may_judge(two))
        await until(lambda: may_judge(one) and may_judge(two))
        for recorder in recorders:
            recorder.gate.set()
        await until(lambda: desk.are_final(jobs))

    assert [desk.record(job)["attempt"] for job in jobs] == [b"1", b"1"]
    assert [recorder.sizes for recorder in recorders] == [[1], [1]]
