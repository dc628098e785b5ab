"""Starting and leaving on a real server: what raises, is drained, is handed back, and what stays behind."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import redis as redis_py
from tests.chaos.kit import Desk, Recorder, desk_at, quick, until

from microbatch.common.embedded import EmbeddedServer
from microbatch.worker import (
    AuthenticationFailed,
    ConnectionFailed,
    DrainTimeout,
    Worker,
    batch_processor,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def desk(redis_url: str) -> Iterator[Desk]:
    with desk_at(redis_url) as made:
        yield made


@pytest.fixture
def user_url(redis_url: str) -> Iterator[Callable[..., str]]:
    """Makes a user `limited` with these rules; gives the URL that logs in as it."""
    with redis_py.Redis.from_url(redis_url) as admin:

        def make(*rules: str) -> str:
            admin.execute_command("ACL", "SETUSER", "limited", "on", ">right", "~*", "+@all", *rules)
            return redis_url.replace("unix://", "unix://limited:right@")

        yield make
        admin.execute_command("ACL", "DELUSER", "limited")


# --- starting -------------------------------------------------------------------------------


async def test_a_server_that_does_not_come_is_connection_failed_after_the_connect_timeout() -> None:
    worker = Worker([Recorder()], settings=quick("unix:///nonexistent/redis.sock", connect_timeout_s=0.5))
    began_s = time.monotonic()

    with pytest.raises(ConnectionFailed, match="nonexistent"):
        await worker.start()

    # It gives up where the pause before another attempt would end after the time-out.
    assert 0.1 < time.monotonic() - began_s < 30
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_server_that_comes_late_is_waited_for() -> None:
    with EmbeddedServer() as server:
        worker = Worker([Recorder()], settings=quick(server.url, connect_timeout_s=10))
        with redis_py.Redis.from_url(server.url) as admin:
            admin.client_pause(600, all=True)  # deaf for a while, like a server that loads its data
        began_s = time.monotonic()
        async with worker:
            assert time.monotonic() - began_s > 0.3


async def test_a_wrong_password_is_refused_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with EmbeddedServer(port=port, extra_args=["--requirepass", "right"]):
        url = f"redis://:wrong@127.0.0.1:{port}/0"
        worker = Worker([Recorder()], settings=quick(url, connect_timeout_s=60))
        began_s = time.monotonic()

        with pytest.raises(AuthenticationFailed) as refused:
            await worker.start()

    assert time.monotonic() - began_s < 50
    assert "wrong" not in str(refused.value).partition("refused")[0]


async def test_a_user_without_the_right_to_the_wake_channels_fails_to_start_and_does_not_hang(
    user_url: Callable[..., str],
) -> None:
    worker = Worker([Recorder()], settings=quick(user_url("resetchannels"), command_timeout_s=0.6))

    with pytest.raises(ConnectionFailed, match="No permissions to access a channel"):
        await asyncio.wait_for(worker.start(), 30)

    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_run_inside_a_running_loop_says_what_to_use_instead(redis_url: str) -> None:
    with pytest.raises(RuntimeError, match="async with"):
        Worker([Recorder()], settings=quick(redis_url)).run()


async def test_a_worker_is_started_once(redis_url: str) -> None:
    async with Worker([Recorder()], settings=quick(redis_url)) as worker:
        with pytest.raises(RuntimeError, match="started already"):
            await worker.start()


async def test_a_worker_that_declares_other_limits_than_the_last_one_says_so(
    redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="microbatch.worker"):
        async with Worker([Recorder(max_batch_size=8)], settings=quick(redis_url)):
            pass
        async with Worker([Recorder(max_batch_size=8)], settings=quick(redis_url)):
            pass
        assert "another worker declared" not in caplog.text
        async with Worker([Recorder(max_batch_size=9)], settings=quick(redis_url)):
            pass

    assert "max_batch_size=9 max_wait_ms=5 here, another worker declared 8 and 5" in caplog.text


# --- presence -------------------------------------------------------------------------------


async def test_a_worker_is_seen_while_it_runs_and_forgotten_when_it_has_left(desk: Desk) -> None:
    async with Worker([Recorder(max_wait_ms=0)], settings=quick(desk.url, heartbeat_limit_s=1)) as worker:
        assert desk.workers() == {worker.id}
        first_beat = desk.redis.zscore(desk.keys.workers, worker.id)
        await until(lambda: desk.redis.zscore(desk.keys.workers, worker.id) != first_beat)
        jobs = desk.submit(1)
        await until(lambda: desk.are_final(jobs))
        assert desk.consumers() == {worker.id}

    assert desk.workers() == desk.consumers() == set()
    assert desk.held_batches() == []
    assert not desk.redis.exists(desk.keys.idle, desk.keys.watcher)


async def test_a_teardown_that_takes_longer_than_a_beat_leaves_no_ghost(desk: Desk) -> None:
    class Slow(Recorder):
        async def teardown(self) -> None:
            await asyncio.sleep(0.6)  # two beats and more: each would announce the worker again

    async with Worker([Slow()], settings=quick(desk.url, heartbeat_limit_s=1)):
        pass

    assert desk.workers() == set()


async def test_nothing_is_left_behind_in_this_process(desk: Desk) -> None:
    threads = threading.active_count()
    async with Worker([Recorder(max_wait_ms=0)], settings=quick(desk.url)):
        jobs = desk.submit(1)
        await until(lambda: desk.are_final(jobs))

    assert asyncio.all_tasks() == {asyncio.current_task()}
    await until(lambda: not [t for t in threading.enumerate() if t.name.startswith("microbatch")])
    assert threading.active_count() <= threads + 1  # the loop's own executor keeps one


# --- draining -------------------------------------------------------------------------------


async def test_leaving_returns_when_every_accepted_batch_is_settled_and_claims_no_more(desk: Desk) -> None:
    recorder = Recorder(max_batch_size=2, max_wait_ms=0)
    recorder.gate.clear()
    worker = Worker([recorder], settings=quick(desk.url))
    await worker.start()
    jobs = desk.submit(1, 2, 3, 4)
    await until(lambda: recorder.running == 1)

    leaving = asyncio.create_task(worker.stop())
    await until(lambda: not desk.redis.exists(desk.keys.idle))
    assert not leaving.done()
    recorder.gate.set()

    assert await leaving == 0
    assert worker.drained
    assert [desk.state(job) for job in jobs] == ["succeeded"] * 2 + ["queued"] * 2
    assert desk.status().waiting == 2


async def test_leaving_drains_also_when_the_body_raises(desk: Desk) -> None:
    recorder = Recorder(max_wait_ms=0)
    jobs: list[str] = []

    async def body() -> None:
        async with Worker([recorder], settings=quick(desk.url)):
            recorder.gate.clear()
            jobs.extend(desk.submit(1))
            await until(lambda: recorder.running == 1)
            asyncio.get_running_loop().call_later(0.05, recorder.gate.set)
            raise LookupError("the body's own")

    with pytest.raises(LookupError, match="the body's own"):
        await body()

    assert desk.state(jobs[0]) == "succeeded"


@pytest.mark.parametrize("kind", ["idle", "watching"])
async def test_while_it_drains_a_worker_is_neither_woken_nor_waited_for(desk: Desk, kind: str) -> None:
    """With a free slot it was in `idle`, or the watcher: others must not rely on it for the whole drain."""
    leaver = Recorder(max_batch_size=3, max_wait_ms=0 if kind == "idle" else 60_000, concurrency=2)
    leaver.gate.clear()
    worker = Worker([leaver], settings=quick(desk.url))
    await worker.start()
    desk.submit(1, 2, 3)
    await until(lambda: leaver.running == 1)
    if kind == "watching":
        desk.submit(4)
        await until(lambda: desk.redis.exists(desk.keys.watcher))
        desk.redis.persist(desk.keys.watcher)  # its lease would end soon by itself
    else:
        desk.redis.zadd(desk.keys.idle, {worker.id: 1e15})  # as would its place among the idle

    leaving = asyncio.create_task(worker.stop())
    await until(lambda: not desk.redis.exists(desk.keys.idle, desk.keys.watcher))

    assert not leaving.done()
    leaver.gate.set()
    await leaving


@pytest.mark.parametrize("kind", ["async", "plain"])
async def test_past_the_deadline_the_rest_is_handed_back_and_another_worker_has_it_at_once(
    desk: Desk, kind: str
) -> None:
    go, entered = threading.Event(), threading.Event()

    def process(items: list[int]) -> list[str]:
        entered.set()
        go.wait(20)
        return ["late"] * len(items)

    async def process_async(_items: list[int]) -> Any:
        entered.set()
        await asyncio.Event().wait()

    stuck = batch_processor(queue="work", max_wait_ms=0)(process if kind == "plain" else process_async)
    nobody_dies: dict[str, Any] = {"heartbeat_limit_s": 60}
    worker = Worker([stuck], settings=quick(desk.url, drain_timeout_s=0.2, **nobody_dies))
    await worker.start()
    jobs = desk.submit(1, 2)
    await until(entered.is_set)
    other = Recorder(max_wait_ms=0)

    async with Worker([other], settings=quick(desk.url, **nobody_dies)):
        assert await worker.stop() == 2
        assert not worker.drained
        await until(lambda: desk.are_final(jobs))
        go.set()

    assert [desk.result(job) for job in jobs] == [1, 2]
    assert [desk.record(job)["attempt"] for job in jobs] == [b"2", b"2"]
    assert desk.is_clean()


async def test_after_a_deadline_no_task_of_the_processor_goes_on(desk: Desk) -> None:
    cleaned: list[str] = []

    @batch_processor(queue="work", max_wait_ms=0)
    async def cleans_up(_items: list[int]) -> Any:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.02)
            cleaned.append("connection closed")

    worker = Worker([cleans_up], settings=quick(desk.url, drain_timeout_s=0.0))
    await worker.start()
    desk.submit(1)
    await until(lambda: desk.status().running == 1)

    assert await worker.stop() == 1
    assert cleaned == ["connection closed"]
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_leaver_that_is_cancelled_hands_back_at_once_and_leaves(desk: Desk) -> None:
    recorder = Recorder(max_wait_ms=0)
    recorder.gate.clear()
    worker = Worker([recorder], settings=quick(desk.url, drain_timeout_s=60))
    await worker.start()
    desk.submit(1, 2)
    await until(lambda: recorder.running == 1)

    claiming = worker._agents[0]._claiming
    leaving = asyncio.create_task(worker.stop())
    await until(lambda: claiming is not None and claiming.done())  # the drain has begun
    leaving.cancel()

    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert worker.handed_back == 2
    assert desk.status().waiting == 2
    assert desk.workers() == set()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_leaving_ends_although_redis_is_gone() -> None:
    server = EmbeddedServer().start()
    recorder = Recorder(max_wait_ms=0)
    settings = quick(server.url, drain_timeout_s=0.1, command_timeout_s=0.4)
    worker = Worker([recorder], settings=settings)
    try:
        await worker.start()
        with desk_at(server.url) as desk:
            recorder.gate.clear()
            desk.submit(1)
            await until(lambda: recorder.running == 1)
    finally:
        await asyncio.to_thread(server.stop)

    handed_back = await asyncio.wait_for(worker.stop(), 15)

    assert handed_back == 0
    assert not worker.drained
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_many_short_lives_lose_nothing_whenever_they_end(desk: Desk) -> None:
    """With no time to drain, a claim may be on its way at the very end."""
    jobs = desk.submit(*range(60))
    for life in range(12):
        recorder = Recorder(max_batch_size=5, max_wait_ms=0, concurrency=2)
        worker = Worker([recorder], settings=quick(desk.url, drain_timeout_s=0.0))
        await worker.start()
        if life % 2:
            await asyncio.sleep(0.001 * life)
        await worker.stop()
        assert desk.held_batches() == []
        assert asyncio.all_tasks() == {asyncio.current_task()}
    async with Worker([Recorder(max_wait_ms=0)], settings=quick(desk.url)):
        await until(lambda: desk.are_final(jobs))

    assert [desk.result(job) for job in jobs] == list(range(60))


# --- run ------------------------------------------------------------------------------------


async def test_burst_returns_when_the_queue_is_empty(desk: Desk) -> None:
    jobs = desk.submit(*range(100))

    await asyncio.to_thread(Worker([Recorder(max_batch_size=7)], settings=quick(desk.url)).run, burst=True)

    assert desk.are_final(jobs)
    assert desk.workers() == set()


async def test_run_raises_what_the_start_raises(redis_url: str) -> None:
    worker = Worker([Recorder()], settings=quick("unix:///nonexistent/redis.sock", connect_timeout_s=0))

    with pytest.raises(ConnectionFailed):
        await asyncio.to_thread(worker.run)


async def test_quiet_stops_claiming_and_resume_goes_on(desk: Desk) -> None:
    settings = quick(desk.url, heartbeat_limit_s=1)
    async with Worker([Recorder(max_wait_ms=0)], settings=settings) as worker:
        worker.quiet()
        await until(lambda: not desk.redis.exists(desk.keys.idle))
        jobs = desk.submit(1)

        def has_beaten(since: Any) -> bool:
            return bool(desk.redis.zscore(desk.keys.workers, worker.id) != since)

        for _ in range(2):  # each beat looks for work, which would be claimed
            await until(partial(has_beaten, desk.redis.zscore(desk.keys.workers, worker.id)))
        assert desk.status().waiting == 1
        worker.resume()
        await until(lambda: desk.are_final(jobs))


def test_a_drain_timeout_says_how_many_went_back() -> None:
    assert str(DrainTimeout(3)) == "the drain deadline passed: 3 jobs were handed back"
    assert str(DrainTimeout(1, "a second signal came")) == "a second signal came: 1 job was handed back"
