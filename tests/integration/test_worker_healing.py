"""What an operator or a fault does to Redis under a running worker: it heals by itself, in about a second."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest
from tests.chaos.kit import Desk, Recorder, desk_at, quick, until

from microbatch.worker import Batch, BatchProcessor, ConnectionFailed, Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def desk(redis_url: str) -> Iterator[Desk]:
    with desk_at(redis_url) as made:
        yield made


def flush_scripts(desk: Desk) -> None:
    desk.redis.script_flush()


def destroy_group(desk: Desk) -> None:
    desk.redis.xgroup_destroy(desk.keys.lane("main"), "workers")


def delete_lane(desk: Desk) -> None:
    desk.redis.delete(desk.keys.lane("main"))


def delete_all_lanes_and_settings(desk: Desk) -> None:
    desk.redis.delete(*[desk.keys.lane(lane) for lane in ("main", "front", "solo")], desk.keys.settings)


def flush_everything(desk: Desk) -> None:
    desk.redis.flushall()


def forget_the_workers(desk: Desk) -> None:
    desk.redis.delete(desk.keys.workers, desk.keys.idle, desk.keys.watcher)


def kill_connections(desk: Desk) -> None:
    desk.redis.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    desk.redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")


def kill_the_listening_connection(desk: Desk) -> None:
    desk.redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")


def delete_consumers(desk: Desk) -> None:
    for consumer in desk.consumers():
        desk.redis.xgroup_delconsumer(desk.keys.lane("main"), "workers", consumer)


HARMS = [
    flush_scripts,
    destroy_group,
    delete_lane,
    delete_all_lanes_and_settings,
    flush_everything,
    forget_the_workers,
    kill_connections,
    kill_the_listening_connection,
    delete_consumers,
]


@pytest.mark.parametrize("harm", HARMS, ids=lambda harm: harm.__name__)
async def test_after_a_harm_while_idle_the_next_job_is_processed_soon(
    desk: Desk, harm: Callable[[Desk], None]
) -> None:
    async with Worker([Recorder(max_wait_ms=1)], settings=quick(desk.url)):
        first = desk.submit(1)
        await until(lambda: desk.are_final(first))
        await until(lambda: desk.redis.exists(desk.keys.idle))

        harm(desk)
        second = desk.submit(2)
        await until(lambda: desk.are_final(second), what="the next job")

    assert desk.result(second[0]) == 2
    assert desk.is_clean()


@pytest.mark.parametrize(
    "harm", [flush_scripts, destroy_group, kill_connections], ids=lambda harm: harm.__name__
)
async def test_a_harm_while_a_batch_is_running_costs_no_result(
    desk: Desk, harm: Callable[[Desk], None]
) -> None:
    recorder = Recorder(max_batch_size=4, max_wait_ms=1)
    recorder.gate.clear()
    async with Worker([recorder], settings=quick(desk.url)):
        jobs = desk.submit(*range(8))
        await until(lambda: recorder.running == 1)

        harm(desk)
        recorder.gate.set()
        await until(lambda: desk.are_final(jobs))

    assert [desk.result(job) for job in jobs] == list(range(8))


async def test_a_lane_that_is_deleted_under_a_running_batch_still_gets_its_results(desk: Desk) -> None:
    recorder = Recorder(max_wait_ms=1)
    recorder.gate.clear()
    async with Worker([recorder], settings=quick(desk.url)):
        running = desk.submit(1, 2)
        await until(lambda: recorder.running == 1)

        delete_lane(desk)
        recorder.gate.set()
        await until(lambda: desk.are_final(running))
        following = desk.submit(3)
        await until(lambda: desk.are_final(following))

    assert [desk.result(job) for job in running + following] == [1, 2, 3]


async def test_connections_that_are_killed_again_and_again_lose_and_double_nothing(desk: Desk) -> None:
    runs: list[Any] = []

    class Counting(Recorder):
        async def process(self, batch: Any) -> list[Any]:
            runs.extend(batch.payloads)
            return await super().process(batch)

    jobs: list[str] = []
    async with Worker([Counting(max_batch_size=7, max_wait_ms=1, concurrency=3)], settings=quick(desk.url)):
        for number in range(30):
            jobs += desk.submit(*range(number * 10, number * 10 + 10))
            kill_connections(desk)
            await asyncio.sleep(0.01)  # the rhythm of the harm
        await until(lambda: desk.are_final(jobs))
        await until(desk.is_clean)

    assert [desk.result(job) for job in jobs] == list(range(300))
    assert sorted(runs) == list(range(300))  # nor is one run twice: a lost reply is not a lost claim


async def test_a_server_that_is_silent_for_a_while_delays_and_loses_nothing(desk: Desk) -> None:
    async with Worker([Recorder(max_batch_size=5, max_wait_ms=1)], settings=quick(desk.url)):
        jobs = desk.submit(*range(50))
        desk.redis.client_pause(700, all=True)
        await until(lambda: desk.are_final(jobs))

    assert [desk.result(job) for job in jobs] == list(range(50))
    assert desk.is_clean()


async def test_a_right_that_is_taken_away_makes_no_busy_loop_and_heals_when_it_is_given_back(
    desk: Desk,
) -> None:
    def rule(*words: str) -> None:
        desk.redis.execute_command("ACL", "SETUSER", "limited", *words)

    rule("on", ">right", "~*", "&*", "+@all")
    url = desk.url.replace("unix://", "unix://limited:right@")
    recorder = Recorder(max_wait_ms=1)
    try:
        async with Worker([recorder], settings=quick(url, heartbeat_limit_s=2)):
            recorder.gate.clear()
            running = desk.submit(1)
            await until(lambda: recorder.running == 1)
            rule("-evalsha")
            recorder.gate.set()
            desk.reset_statistics()
            began_s = time.monotonic()
            await asyncio.sleep(1.0)  # how often it tries in a second is what is asked
            stats: Any = desk.redis.info("commandstats")
            refused, seconds = stats["cmdstat_evalsha"]["rejected_calls"], time.monotonic() - began_s

            rule("+evalsha")
            following = desk.submit(2)
            await until(lambda: desk.are_final(running + following))
    finally:
        desk.redis.execute_command("ACL", "DELUSER", "limited")

    assert 1 <= refused <= 12 * seconds
    assert [desk.result(job) for job in running + following] == [1, 2]


async def test_a_worker_that_others_called_dead_writes_nothing_and_goes_on_working(desk: Desk) -> None:
    """What a frozen worker finds when it thaws, without the freezing: its jobs have moved."""
    slow, fast = Recorder(max_wait_ms=1), Recorder(max_wait_ms=1)
    slow.gate.clear()
    zombie = Worker([slow], settings=quick(desk.url, heartbeat_limit_s=1))
    await zombie.start()
    jobs = desk.submit(1, 2)
    await until(lambda: slow.running == 1)
    assert zombie.heartbeat is not None
    zombie.heartbeat._stop.set()  # it is alive, and looks dead

    async with Worker([fast], settings=quick(desk.url, heartbeat_limit_s=1)):
        await until(lambda: desk.are_final(jobs))
        records = [desk.record(job) for job in jobs]
        slow.gate.set()
        await until(lambda: zombie._agents[0]._settler.dropped == 2)

        assert [desk.record(job) for job in jobs] == records
        assert [record["attempt"] for record in records] == [b"2", b"2"]
        assert fast.sizes == [1, 1]  # suspects run alone
        assert {batch.reason for batch in fast.batches} == {"recovery"}
    await zombie.stop()
    assert desk.is_clean()


async def test_the_loss_of_a_claims_reply_loses_no_job(desk: Desk) -> None:
    """Each claim is executed, and its reply thrown away once."""
    recorder = Recorder(max_batch_size=4, max_wait_ms=1)
    worker = Worker([recorder], settings=quick(desk.url))
    await worker.start()
    connection: Any = worker._connection
    real_run, lost = connection.run, set()

    async def run(call: Any, **options: Any) -> Any:
        reply = await real_run(call, **options)
        if call.script.name == "claim" and call.args[1] not in lost:
            lost.add(call.args[1])
            raise ConnectionFailed("the reply was lost")
        return reply

    connection.run = run
    jobs = desk.submit(*range(12))
    await until(
        lambda: desk.are_final(jobs), 9.5
    )  # and not after 10 s, when batches nobody runs are handed back
    await worker.stop()

    assert lost
    assert [desk.result(job) for job in jobs] == list(range(12))
    assert sum(recorder.sizes) == 12
    assert desk.is_clean()


async def test_a_server_that_goes_away_during_the_start_is_waited_for_like_one_that_is_not_there_yet(
    desk: Desk,
) -> None:
    class PausesTheServer(BatchProcessor[Any, Any]):
        queue = "work"

        def setup(self) -> None:
            desk.redis.client_pause(1_500, all=True)

        async def process(self, batch: Batch[Any]) -> list[Any]:
            return batch.payloads

    settings = quick(desk.url, command_timeout_s=0.4, connect_timeout_s=20)
    async with Worker([PausesTheServer], settings=settings):
        pass
