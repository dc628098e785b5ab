"""What a failover undoes under a running worker: the promoted replica never had the last script calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.chaos.kit import Desk, Recorder, desk_at, quick, until
from tests.moments import Moment

from microbatch.common.scripts import Claimed, claim
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
        await until(lambda: recorder.running == 1)
        moment = Moment(desk.redis, desk.keys)
        recorder.gate.set()
        await until(lambda: desk.are_final(jobs) and desk.is_clean())

        moment.comes_back()
        assert not desk.are_final(jobs)
        await until(lambda: desk.are_final(jobs) and desk.is_clean())

    assert [[job.attempt for job in batch] for batch in recorder.batches] == [[1, 1], [2, 2]]
    assert [desk.record(job)["attempt"] for job in jobs] == [b"2", b"2"]
    assert [desk.result(job) for job in jobs] == [1, 2]


async def test_what_a_living_worker_was_given_and_never_saw_goes_to_whoever_is_free(desk: Desk) -> None:
    """A claim that was executed when its worker had given it up: pending entries that nobody runs."""
    busy, free = (Recorder(max_batch_size=1, max_wait_ms=0, concurrency=1) for _ in range(2))
    busy.gate.clear()
    settings = quick(desk.url, command_timeout_s=COMMAND_TIMEOUT_S)
    async with Worker([busy], settings=settings) as worker:
        running = desk.submit("runs")
        await until(lambda: busy.running == 1)
        unseen = desk.submit("was never seen")
        late = claim(desk.keys, worker.id, "late", max_batch_size=1, max_wait_ms=0, max_batch_bytes=1 << 20)
        connection: Any = worker._connection
        assert isinstance(await connection.run(late), Claimed)
        async with Worker([free], settings=settings):
            await until(lambda: desk.are_final(unseen))
        busy.gate.set()
        await until(lambda: desk.are_final(running) and desk.is_clean())

    assert [batch.payloads for batch in (*busy.batches, *free.batches)] == [["runs"], ["was never seen"]]
