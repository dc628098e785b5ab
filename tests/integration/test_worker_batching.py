"""Batches on a real server: by count and by waiting time, formed over the whole queue, without prefetch."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest
from tests.chaos.kit import Desk, Recorder, desk_at, quick, until

from microbatch.worker import Worker, batch_processor

if TYPE_CHECKING:
    from collections.abc import Iterator

LONG_MS = 60_000.0


@pytest.fixture
def desk(redis_url: str) -> Iterator[Desk]:
    with desk_at(redis_url) as made:
        yield made


def waited_ms(desk: Desk, local: str) -> int:
    """How long the job waited, by Redis's clock."""
    record = desk.record(local)
    started_ms = record["ran"].split()[0]
    return int(started_ms) - int(record["enqueued_ms"])


async def test_a_full_batch_leaves_at_once_however_long_the_wait_is(any_redis_url: str) -> None:
    recorder = Recorder(max_batch_size=4, max_wait_ms=LONG_MS)
    with desk_at(any_redis_url) as desk:
        async with Worker([recorder], settings=quick(any_redis_url)):
            jobs = desk.submit(*"abcd")
            await until(lambda: desk.are_final(jobs))

        assert recorder.sizes == [4]
        assert recorder.batches[0].reason == "size"
        assert [desk.result(job) for job in jobs] == list("abcd")
        assert desk.record(jobs[0])["batch"].split()[1] == b"4"


async def test_a_batch_that_fills_up_job_by_job_leaves_when_it_is_full(desk: Desk) -> None:
    recorder = Recorder(max_batch_size=3, max_wait_ms=LONG_MS)
    async with Worker([recorder], settings=quick(desk.url)):
        jobs = []

        def is_watched() -> bool:
            found: Any = desk.redis.get(desk.keys.watcher)
            return found is not None and found.startswith(b"3 ")

        for payload in range(2):
            jobs += desk.submit(payload)
            # The watcher waits for a full batch, and must be woken early.
            await until(is_watched)
        jobs += desk.submit(2)
        await until(lambda: desk.are_final(jobs))

    assert recorder.sizes == [3]


async def test_the_oldest_job_waits_its_time_counted_from_its_submit_and_not_much_longer(desk: Desk) -> None:
    recorder = Recorder(max_batch_size=10, max_wait_ms=120)
    async with Worker([recorder], settings=quick(desk.url)):
        (first,) = desk.submit(1)
        (second,) = desk.submit(2)
        await until(lambda: desk.are_final([first, second]))

    assert recorder.sizes == [2]
    assert recorder.batches[0].reason == "wait"
    assert 119 <= waited_ms(desk, first) < 120 + 150


async def test_a_job_that_has_waited_before_the_worker_came_is_taken_at_once(desk: Desk) -> None:
    recorder = Recorder(max_batch_size=10, max_wait_ms=LONG_MS)
    long_ago = f"{int(time.time() * 1000 - LONG_MS) - 1000}-0"
    desk.redis.xadd(
        desk.keys.lane("main"), {"v": "1", "id": "old", "client": "", "payload": b"\x01"}, id=long_ago
    )

    async with Worker([recorder], settings=quick(desk.url)):
        await until(lambda: desk.state("old") == "succeeded")


async def test_without_a_wait_what_is_there_leaves_at_once_and_together(desk: Desk) -> None:
    recorder = Recorder(max_batch_size=10, max_wait_ms=0)
    async with Worker([recorder], settings=quick(desk.url)):
        jobs = desk.submit(1, 2, 3)
        await until(lambda: desk.are_final(jobs))

    assert recorder.sizes == [3]
    assert waited_ms(desk, jobs[0]) < 150


async def test_no_batch_is_ever_larger_than_the_limit_and_every_job_is_in_one(desk: Desk) -> None:
    recorders = [Recorder(max_batch_size=8, max_wait_ms=2) for _ in range(3)]
    async with AsyncExitStack() as stack:
        for recorder in recorders:
            await stack.enter_async_context(Worker([recorder], settings=quick(desk.url)))
        jobs = [local for size in (1, 30, 7, 50, 12) for local in desk.submit(*range(size))]
        await until(lambda: desk.are_final(jobs))

    sizes = [size for recorder in recorders for size in recorder.sizes]
    assert max(sizes) <= 8
    assert sum(sizes) == len(jobs) == 100


async def test_more_workers_do_not_split_a_batch(desk: Desk) -> None:
    recorders = [Recorder(max_batch_size=100, max_wait_ms=400) for _ in range(4)]
    async with AsyncExitStack() as stack:
        for recorder in recorders:
            await stack.enter_async_context(Worker([recorder], settings=quick(desk.url)))
        jobs = []
        for payload in range(12):
            jobs += desk.submit(payload)
            await asyncio.sleep(0)
        await until(lambda: desk.are_final(jobs))

    assert [size for recorder in recorders for size in recorder.sizes] == [12]


async def test_one_worker_serves_several_queues_each_with_its_own_limits(desk: Desk) -> None:
    small, large = Recorder("small", max_batch_size=2, max_wait_ms=1), Recorder("large", max_batch_size=50)

    @batch_processor(queue="plain")
    def plain(items: list[int]) -> list[int]:
        return [item + 1 for item in items]

    with desk_at(desk.url, "small") as at_small, desk_at(desk.url, "large") as at_large:
        with desk_at(desk.url, "plain") as at_plain:
            async with Worker([small, large, plain], settings=quick(desk.url)) as worker:
                assert worker.queues == ["small", "large", "plain"]
                jobs = {at: at.submit(*range(20)) for at in (at_small, at_large, at_plain)}
                for at, locals_ in jobs.items():
                    await until(lambda at=at, locals_=locals_: at.are_final(locals_))  # type: ignore[misc] # a default

            assert [at_plain.result(local) for local in jobs[at_plain]] == list(range(1, 21))
        assert [at_large.result(local) for local in jobs[at_large]] == list(range(20))

    assert max(small.sizes) <= 2
    assert large.sizes == [20]


async def test_a_queue_that_is_busy_takes_no_slot_from_another(desk: Desk) -> None:
    busy, free = Recorder("busy", max_wait_ms=0), Recorder("free", max_wait_ms=0)
    busy.gate.clear()
    with desk_at(desk.url, "busy") as at_busy, desk_at(desk.url, "free") as at_free:
        async with Worker([busy, free], settings=quick(desk.url)):
            at_busy.submit(1)
            await until(lambda: busy.running == 1)
            done = at_free.submit(2)
            await until(lambda: at_free.are_final(done))
            busy.gate.set()


async def test_batches_in_flight_are_bounded_by_the_concurrency_and_nothing_is_prefetched(desk: Desk) -> None:
    recorder = Recorder(max_batch_size=2, max_wait_ms=0, concurrency=2)
    recorder.gate.clear()
    async with Worker([recorder], settings=quick(desk.url)) as worker:
        jobs = desk.submit(*range(10))
        await until(lambda: recorder.running == 2)
        for _ in range(20):
            await asyncio.sleep(0.002)  # room for a third claim, if there were one

        assert recorder.running == 2
        assert desk.status().running == 4
        assert desk.status().waiting == 6
        assert "work=2/2" in repr(worker)
        recorder.gate.set()
        await until(lambda: desk.are_final(jobs))

    assert recorder.sizes == [2] * 5


async def test_a_free_slot_goes_on_claiming_while_another_is_busy(desk: Desk) -> None:
    recorder = Recorder(max_batch_size=1, max_wait_ms=0, concurrency=2)
    recorder.gate.clear()
    async with Worker([recorder], settings=quick(desk.url)):
        desk.submit("slow")
        await until(lambda: recorder.running == 1)
        desk.submit("second")
        await until(lambda: recorder.running == 2)
        recorder.gate.set()


async def test_an_idle_worker_costs_two_calls_a_second_at_most(desk: Desk) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(3):
            await stack.enter_async_context(Worker([Recorder()], settings=quick(desk.url)))
        await until(lambda: desk.redis.zcard(desk.keys.idle) == 3)  # the first looks are over
        desk.reset_statistics()
        began_s = time.monotonic()
        await asyncio.sleep(2)  # what happens when nothing happens takes time to see
        calls, seconds = desk.script_calls(), time.monotonic() - began_s

    assert 3 <= calls <= 3 * 2 * seconds + 3


async def test_an_idle_worker_of_two_queues_costs_two_calls_a_second_too(desk: Desk) -> None:
    with desk_at(desk.url, "other") as other:
        async with Worker([Recorder(desk.queue), Recorder(other.queue)], settings=quick(desk.url)):
            await until(lambda: desk.redis.exists(desk.keys.idle, other.keys.idle) == 2)
            desk.reset_statistics()
            began_s = time.monotonic()
            await asyncio.sleep(3)  # what happens when nothing happens takes time to see
            calls, seconds = desk.script_calls(), time.monotonic() - began_s

    assert 4 <= calls <= 2 * seconds + 2


async def calls_for_jobs(url: str, workers: int, jobs: int) -> float:
    """Script calls per job, one job at a time, without the heartbeats."""
    with desk_at(url, f"costs{workers}") as desk:
        async with AsyncExitStack() as stack:
            for _ in range(workers):
                recorder = Recorder(desk.queue, max_wait_ms=0)
                await stack.enter_async_context(Worker([recorder], settings=quick(url)))
            await until(lambda: desk.redis.zcard(desk.keys.idle) == workers)
            desk.reset_statistics()
            for number in range(jobs):
                done = desk.submit(number)
                await until(lambda done=done: desk.are_final(done))  # type: ignore[misc] # a default
            stats = desk.redis.info("commandstats")
            beats = desk.redis.info("commandstats").get("cmdstat_zremrangebyscore", {}).get("calls", 0)
            return float((stats["cmdstat_evalsha"]["calls"] - beats) / jobs)


async def test_idle_workers_cost_nothing_per_job(redis_url: str) -> None:
    alone = await calls_for_jobs(redis_url, workers=1, jobs=40)
    among_idle_ones = await calls_for_jobs(redis_url, workers=5, jobs=40)

    assert alone <= 5
    assert among_idle_ones <= alone * 1.2 + 0.2


async def test_a_long_backlog_costs_few_calls_per_batch(desk: Desk) -> None:
    recorder = Recorder(max_batch_size=50, max_wait_ms=5)
    jobs = desk.submit(*range(1000))
    desk.reset_statistics()
    async with Worker([recorder], settings=quick(desk.url)):
        await until(lambda: desk.are_final(jobs))
        calls = desk.script_calls()

    assert recorder.sizes == [50] * 20
    assert calls <= 20 * 2 + 15  # a claim and a settle each; joining and beating beside
