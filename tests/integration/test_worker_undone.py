"""What a failover undoes under a running worker: the promoted replica never had the last script calls.

A moment is kept as the keys of the queue were at it, and comes back as a promoted replica would show them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.chaos.kit import Desk, Recorder, desk_at, quick, until

from microbatch.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMAND_TIMEOUT_S = 0.25  # an orphan is a batch that is older than two of these


@pytest.fixture
def desk(redis_url: str) -> Iterator[Desk]:
    with desk_at(redis_url) as made:
        yield made


class Moment:
    """The keys of a queue, as they were when this was made."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._kept: dict[Any, Any] = {key: desk.redis.dump(key) for key in self._keys()}

    def comes_back(self) -> None:
        """What was written since then never was."""
        with self._desk.redis.pipeline(transaction=True) as pipeline:
            for key in self._keys():
                pipeline.delete(key)
            for key, value in self._kept.items():
                pipeline.restore(key, 0, value, replace=True)
            pipeline.execute()

    def _keys(self) -> list[Any]:
        found: list[Any] = self._desk.redis.keys(f"{self._desk.keys.prefix}*")
        return found


async def test_a_job_whose_result_is_undone_runs_again_and_its_second_run_has_another_number(
    desk: Desk,
) -> None:
    recorder = Recorder(max_wait_ms=1)
    recorder.gate.clear()
    async with Worker([recorder], settings=quick(desk.url, command_timeout_s=COMMAND_TIMEOUT_S)):
        jobs = desk.submit(1, 2)
        await until(lambda: recorder.running == 1, 5)
        moment = Moment(desk)
        recorder.gate.set()
        await until(lambda: desk.are_final(jobs) and desk.is_clean(), 5)

        moment.comes_back()
        assert not desk.are_final(jobs)
        await until(lambda: desk.are_final(jobs) and desk.is_clean(), 10)

    assert [[job.attempt for job in batch] for batch in recorder.batches] == [[1, 1], [2, 2]]
    assert [desk.record(job)["attempt"] for job in jobs] == [b"2", b"2"]
    assert [desk.result(job) for job in jobs] == [1, 2]
