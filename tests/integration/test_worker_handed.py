"""Jobs that a submit gives to an idle worker: whatever becomes of the message, each runs once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from tests.chaos.kit import Desk, Recorder, desk_at, quick, until

from microbatch.common.scripts import HANDED_MESSAGE
from microbatch.producer import AsyncClient
from microbatch.worker import Worker
from microbatch.worker.queue_agent import QueueAgent

if TYPE_CHECKING:
    from collections.abc import Iterator


GOLDEN = 0.618034  # its multiples fall everywhere


@pytest.fixture
def desk(redis_url: str) -> Iterator[Desk]:
    with desk_at(redis_url) as made:
        yield made


class Ear:
    """What workers hear of batches that are handed to them; kept back while it is deaf."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_deaf = False
        self.kept: list[tuple[QueueAgent, bytes]] = []
        self.handed = 0
        self._heard = QueueAgent.heard

        def heard(agent: QueueAgent, message: bytes) -> None:
            is_handed = message.startswith(HANDED_MESSAGE)
            self.handed += is_handed
            if is_handed and self.is_deaf:
                self.kept.append((agent, message))
            else:
                self._heard(agent, message)

        monkeypatch.setattr(QueueAgent, "heard", heard)

    def tell(self) -> None:
        """What was kept arrives late."""
        while self.kept:
            self._heard(*self.kept.pop(0))


@pytest.fixture
def ear(monkeypatch: pytest.MonkeyPatch) -> Ear:
    return Ear(monkeypatch)


async def _idle(worker: Worker) -> None:
    await until(lambda: all(agent.claimer.is_idle for agent in worker._agents))


async def test_lone_jobs_one_after_the_other_cost_two_scripts_each(desk: Desk, ear: Ear) -> None:
    jobs = 30
    async with Worker(
        [Recorder(max_wait_ms=0)], settings=quick(desk.url, concurrency=2, heartbeat_limit_s=60)
    ) as worker:
        await _idle(worker)
        async with AsyncClient(desk.url) as client:
            await client.call("work", 0)
            desk.reset_statistics()
            for n in range(jobs):
                await _idle(worker)
                assert await client.call("work", n) == n
        # Submit and settle; a heartbeat or the look of somebody whom two jobs met may come between.
        assert desk.script_calls() <= 2 * jobs + 15
        assert ear.handed >= jobs


async def test_a_message_that_never_comes_costs_one_look(desk: Desk, ear: Ear) -> None:
    processor = Recorder(max_wait_ms=0)
    async with Worker([processor], settings=quick(desk.url, concurrency=2, heartbeat_limit_s=60)) as worker:
        await _idle(worker)
        ear.is_deaf = True
        jobs = [*desk.submit("a"), *desk.submit("b"), *desk.submit("c")]
        await until(lambda: desk.are_final(jobs))
        assert ear.kept
        ear.tell()  # late: it is known by now
        ear.is_deaf = False
        [last] = desk.submit("d")
        await until(lambda: desk.are_final([last]))
    assert sorted(job.payload for batch in processor.batches for job in batch) == ["a", "b", "c", "d"]
    assert {job.attempt for batch in processor.batches for job in batch} == {1}
    assert desk.is_clean()


@pytest.mark.parametrize("way", ["drains", "hands back"])
async def test_who_leaves_before_it_hears_gives_the_jobs_to_others_as_never_run(
    desk: Desk, ear: Ear, way: str
) -> None:
    leaving, other = Recorder(max_wait_ms=0), Recorder(max_wait_ms=0)
    worker = Worker([leaving], settings=quick(desk.url, concurrency=2, heartbeat_limit_s=60))
    await worker.start()
    await _idle(worker)
    ear.is_deaf = True
    jobs = [*desk.submit("a"), *desk.submit("b")]
    assert desk.held_batches()
    await worker.stop(drain_timeout_s=30 if way == "drains" else 0)
    ear.tell()
    ear.is_deaf = False
    async with Worker([other], settings=quick(desk.url)):
        await until(lambda: desk.are_final(jobs))
    # A beat may have made it look in the moment before it left: then it ran them itself.
    ran = [job for batch in [*leaving.batches, *other.batches] for job in batch]
    assert sorted((job.payload, job.attempt) for job in ran) == [("a", 1), ("b", 1)]


async def test_a_quiet_worker_is_handed_nothing_and_keeps_what_it_was_handed(desk: Desk, ear: Ear) -> None:
    processor = Recorder(max_wait_ms=0)
    async with Worker([processor], settings=quick(desk.url, heartbeat_limit_s=60)) as worker:
        await _idle(worker)
        ear.is_deaf = True
        [job] = desk.submit("a")
        await until(lambda: ear.kept)
        worker.quiet()
        await until(lambda: not desk.redis.exists(desk.keys.idle))
        ear.tell()
        await until(lambda: desk.are_final([job]))
        [waits] = desk.submit("b")
        assert desk.status().waiting == 1
        worker.resume()
        await until(lambda: desk.are_final([waits]))


async def test_what_a_quiet_worker_never_heard_of_goes_back_as_never_run_and_is_not_begun_late(
    desk: Desk, ear: Ear
) -> None:
    processor = Recorder(max_wait_ms=0)
    settings = quick(desk.url, concurrency=2, heartbeat_limit_s=60, command_timeout_s=0.5)
    async with Worker([processor], settings=settings) as worker:
        await _idle(worker)
        ear.is_deaf = True
        [job] = desk.submit("a")
        await until(lambda: ear.kept)
        worker.quiet()
        await until(lambda: desk.status().waiting == 1)
        ear.tell()
        worker.resume()
        await until(lambda: desk.are_final([job]))
    assert [job.attempt for batch in processor.batches for job in batch] == [1]


@pytest.mark.parametrize("held", [False, True])
async def test_who_waits_for_the_end_of_all_jobs_learns_of_it_from_a_quiet_worker(
    desk: Desk, ear: Ear, *, held: bool
) -> None:
    async with Worker([Recorder(max_wait_ms=0)], settings=quick(desk.url, concurrency=2)) as worker:
        await _idle(worker)
        ear.is_deaf = held
        jobs = desk.submit("a")
        await until(lambda: ear.kept if held else desk.are_final(jobs))
        worker.quiet()
        dry = asyncio.create_task(worker.wait_until_dry())
        ear.tell()
        await asyncio.wait_for(dry, 60)
        assert desk.are_final(jobs)


async def test_while_a_suspect_runs_the_worker_is_handed_nothing(desk: Desk) -> None:
    async with Worker([Recorder(max_wait_ms=0)], settings=quick(desk.url, concurrency=2)) as worker:
        await _idle(worker)
        [agent] = worker._agents
        async with agent._parts.isolation.alone():  # of another queue
            await until(lambda: not desk.redis.exists(desk.keys.idle, desk.keys.offer(worker.id)))
            jobs = desk.submit("a")
            async with Worker([Recorder(max_wait_ms=0)], settings=quick(desk.url)):
                await until(lambda: desk.are_final(jobs))


async def test_who_leaves_when_all_is_done_leaves_nothing_that_it_was_handed(desk: Desk, ear: Ear) -> None:
    processor = Recorder(max_wait_ms=0)
    async with Worker([processor], settings=quick(desk.url, concurrency=2, heartbeat_limit_s=60)) as worker:
        await _idle(worker)
        ear.is_deaf = True
        jobs = [*desk.submit("a"), *desk.submit("b")]
        await worker.wait_until_dry()
        assert desk.are_final(jobs)
        assert all(not agent.ledger.offer.ids for agent in worker._agents)


@pytest.mark.parametrize("concurrency", [1, 2, 4])
async def test_callers_that_come_as_they_like_are_all_answered_once(
    desk: Desk, ear: Ear, concurrency: int
) -> None:
    processors = [Recorder(max_wait_ms=0), Recorder(max_wait_ms=0)]
    settings = quick(desk.url, concurrency=concurrency, heartbeat_limit_s=60)
    async with (
        Worker([processors[0]], settings=settings),
        Worker([processors[1]], settings=settings),
        AsyncClient(desk.url) as client,
    ):

        async def one(n: int) -> None:
            await asyncio.sleep(n * GOLDEN % 1 * 2)
            assert await client.call("work", n, timeout_s=60) == n

        await asyncio.gather(*(one(n) for n in range(600)))
    ran = sorted(job.payload for processor in processors for batch in processor.batches for job in batch)
    assert ran == list(range(600))
    assert ear.handed > 0
    assert desk.is_clean()
