"""What a failover undoes under a running worker: the promoted replica never had the last script calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.chaos.kit import Desk, Recorder, desk_at, quick, until
from tests.moments import Moment

from microbatch.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMAND_TIMEOUT_S = 0.25  # an orphan is a batch that is older than two of these


@pytest.fixture
def desk(redis_url: str) -> Iterator[Desk]:
    with desk_at(redis_url) as made:
        yield made


async def test_a_job_whose_result_is_undone_runs_again_and_its_second_run_has_another_number(
    desk: Desk,
) -> None:
    recorder = Recorder(max_wait_ms=1)
    recorder.gate.clear()
    async with Worker([recorder], settings=quick(desk.url, command_timeout_s=COMMAND_TIMEOUT_S)):
        jobs = desk.submit(1, 2)
        await until(lambda: recorder.running == 1, 5)
        moment = Moment(desk.redis, desk.keys)
        recorder.gate.set()
        await until(lambda: desk.are_final(jobs) and desk.is_clean(), 5)

        moment.comes_back()
        assert not desk.are_final(jobs)
        await until(lambda: desk.are_final(jobs) and desk.is_clean(), 10)

    assert [[job.attempt for job in batch] for batch in recorder.batches] == [[1, 1], [2, 2]]
    assert [desk.record(job)["attempt"] for job in jobs] == [b"2", b"2"]
    assert [desk.result(job) for job in jobs] == [1, 2]
