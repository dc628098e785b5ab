"""Who hands back in haste while a claim is on its way: what went back as not begun never begins here."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from tests.chaos.kit import Desk, Recorder, desk_at, quick, until

from microbatch.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def desk(redis_url: str) -> Iterator[Desk]:
    with desk_at(redis_url) as made:
        yield made


class SlowLine:
    """A worker's connection over which the reply to a claim that was given a batch is late."""

    def __init__(self, connection: Any) -> None:
        self._run = connection.run
        connection.run = self.run
        self.arrives = asyncio.Event()
        self.handed_back = asyncio.Event()

    async def run(self, call: Any, **how: Any) -> Any:
        reply = await self._run(call, **how)
        if call.script.name == "claim" and hasattr(reply, "entries"):
            await self.arrives.wait()
        if call.script.name == "release":
            self.handed_back.set()
        return reply


@pytest.mark.parametrize("way", ["by the heartbeat's thread", "by the loop"])
async def test_a_claim_that_is_answered_after_its_jobs_went_back_begins_nothing(desk: Desk, way: str) -> None:
    leaving, other = Recorder(max_wait_ms=0), Recorder(max_wait_ms=0)
    worker = Worker([leaving], settings=quick(desk.url, drain_timeout_s=0.0, heartbeat_limit_s=60))
    await worker.start()
    line = SlowLine(worker._connection)
    jobs = desk.submit(1, 2)
    await until(lambda: desk.held_batches() != [])

    if way == "by the loop":
        stopping = asyncio.create_task(worker.stop())
        await asyncio.wait_for(line.handed_back.wait(), 30)
        line.arrives.set()
        await stopping
    else:
        assert worker.heartbeat is not None
        assert await asyncio.to_thread(worker.heartbeat.hand_back_all) >= 1
        line.arrives.set()
        await until(lambda: bool(worker._agents[0].ledger.tasks()))
        for _ in range(20):
            await asyncio.sleep(0)
    assert leaving.batches == []

    async with Worker([other], settings=quick(desk.url)):
        await until(lambda: desk.are_final(jobs))
    assert sorted(job.attempt for batch in other.batches for job in batch) == [1, 1]
    await worker.stop()
    assert leaving.batches == []
