"""A network that fails: half-open lines, replies cut anywhere, clients killed, servers paused, hints lost."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Literal

import pytest
import redis.asyncio as aioredis
from tests.chaos.kit import Recorder, quick, until
from tests.chaos.link import Link, Trap, calls_of
from tests.integration.test_producer_stand_in import working

from microbatch.common import scripts
from microbatch.common.connection import BlockingConnection, Connection, Endpoint
from microbatch.common.errors import ConnectionFailed, NotReplicated, QueueFull, ServerFull, SubmitTimeout
from microbatch.common.keys import QueueKeys
from microbatch.common.scripts.script import load
from microbatch.producer import AsyncClient, AsyncJobHandle, ClientSettings
from microbatch.worker import Worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable

LINES = 6
QUICK_S = 0.4  # so that what has to time out does not take long; half of it is one attempt


@pytest.fixture
async def link(redis_url: str) -> AsyncIterator[Link]:
    async with Link(redis_url.removeprefix("unix://").partition("?")[0]) as running:
        yield running


def beat(worker: str) -> scripts.Call[scripts.Look]:
    keys = QueueKeys("q")
    return scripts.heartbeat(keys, worker, [], heartbeat_limit_ms=1000, stale_claim_ms=1000, idle=False)


async def test_half_open_lines_cost_one_time_out_and_not_one_each(link: Link) -> None:
    connection = Connection(Endpoint(link.url, 4 * QUICK_S, "test"))
    await asyncio.gather(*(connection.execute("PING") for _ in range(LINES)))
    link.half_open()

    assert await connection.execute("ECHO", "a") == b"a"
    assert await asyncio.gather(*(connection.execute("ECHO", f"{n}") for n in range(LINES))) == [
        f"{n}".encode() for n in range(LINES)
    ]
    await connection.close()


async def test_a_half_open_line_of_a_thread_is_left_too(link: Link) -> None:
    blocking = BlockingConnection(Endpoint(link.url, 2 * QUICK_S, "test"))
    await asyncio.to_thread(blocking.run, beat("w"))
    link.half_open()
    with contextlib.suppress(ConnectionFailed):  # its one attempt may be all that there was time for
        await asyncio.to_thread(blocking.run, beat("w"))

    await asyncio.to_thread(blocking.run, beat("w"))
    blocking.close()


@pytest.mark.parametrize("size", [1, 30])
async def test_a_reply_cut_at_any_byte_is_never_the_reply_to_another_command(link: Link, size: int) -> None:
    connection = Connection(Endpoint(link.url, 5.0, "test"))
    whole = len(f"${size}\r\n\r\n") + size
    for cut in range(whole):
        await connection.execute("PING")  # a line is open: what is cut is no handshake
        link.cut_after(cut, "to_client")
        texts = [f"{cut:02}{n}".rjust(size, "x")[-size:] for n in range(3)]
        assert await asyncio.gather(*(connection.execute("ECHO", text) for text in texts)) == [
            text.encode() for text in texts
        ]
    assert link.happened["cut"] == whole
    await connection.close()


async def test_a_storm_of_killed_clients_changes_no_result(redis_url: str) -> None:
    settings = ClientSettings(redis_url=redis_url, poll_interval_s=0.2)
    storms = 0
    async with (
        Worker([Recorder("storm")], settings=quick(redis_url)),
        AsyncClient(settings=settings) as client,
        aioredis.Redis.from_url(redis_url, protocol=2) as raw,
    ):

        async def storm() -> None:
            nonlocal storms
            while True:
                for kind in ("normal", "pubsub"):
                    await raw.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
                storms += 1
                await asyncio.sleep(0.05)

        storming = asyncio.create_task(storm())
        for _ in range(5):
            payloads = list(range(100))
            results = await asyncio.gather(*(client.call("storm", n, timeout_s=20) for n in payloads))
            assert results == payloads
            seen = storms
            await until(lambda seen=seen: storms > seen)  # type: ignore[misc]
        storming.cancel()
        assert (await client.queue_status("storm")).waiting == 0
    assert storms >= 5


async def test_a_paused_server_is_waited_for_and_every_job_runs_once(redis_url: str) -> None:
    recorder = Recorder("paused")
    async with (
        Worker([recorder], settings=quick(redis_url, command_timeout_s=QUICK_S)),
        AsyncClient(settings=ClientSettings(redis_url=redis_url, command_timeout_s=5)) as client,
        aioredis.Redis.from_url(redis_url, protocol=2) as raw,
    ):
        await client.call("paused", "before", timeout_s=30)
        await raw.execute_command("CLIENT", "PAUSE", int(QUICK_S * 2000), "ALL")
        assert await client.map("paused", range(50), timeout_s=20) == list(range(50))

    ran = [payload for batch in recorder.batches for payload in batch.payloads]
    assert sorted(ran[1:]) == list(range(50))


async def test_a_result_whose_push_was_lost_is_found_in_the_record(redis_url: str, link: Link) -> None:
    settings = ClientSettings(redis_url=link.url, command_timeout_s=2 * QUICK_S, poll_interval_s=0.1)
    async with AsyncClient(settings=settings) as client:
        job = await client.submit("lost", "x")
        link.half_open()  # the client still believes that it listens
        async with working(redis_url, "lost"):
            assert await job.result(timeout_s=30) == "x"


@pytest.fixture
async def admin(redis_url: str) -> AsyncIterator[aioredis.Redis]:
    async with aioredis.Redis.from_url(redis_url, protocol=2) as client:
        yield client


async def submitted_and_full(link: Link, admin: aioredis.Redis, submitting: Awaitable[object]) -> object:
    """Let a submit be executed, lose its reply, and have a server without memory when it is repeated."""
    link.lay(Trap(calls_of(load("submit").sha), lost="reply", then="silent"))
    task = asyncio.ensure_future(submitting)
    while not await admin.exists(QueueKeys("q").job("a")):  # noqa: ASYNC110 - Redis has no event for it
        await asyncio.sleep(0.01)
    await admin.config_set("maxmemory", 1)
    link.reset()
    return await task


async def test_a_repeated_submit_finds_its_job_on_a_server_that_is_full_by_then(
    link: Link, admin: aioredis.Redis
) -> None:
    async with AsyncClient(link.url) as client:
        await client.submit("q", "warm")

        job = await submitted_and_full(link, admin, client.submit("q", "job", job_id="a"))

        assert isinstance(job, AsyncJobHandle)
        assert job.id == "q/a"


async def test_a_replicated_job_that_was_accepted_is_not_called_refused_where_its_fence_is(
    link: Link, admin: aioredis.Redis
) -> None:
    async with AsyncClient(settings=ClientSettings(redis_url=link.url, command_timeout_s=2)) as client:
        await client.submit("q", "warm")

        with pytest.raises(NotReplicated):
            await submitted_and_full(
                link, admin, client.submit("q", "job", job_id="a", durability="replicated")
            )
        assert await admin.xlen(QueueKeys("q").lane("main")) == 2


async def test_a_submit_is_in_doubt_where_a_full_server_refused_only_its_repetition(
    link: Link, admin: aioredis.Redis
) -> None:
    async with AsyncClient(link.url) as client:
        await client.submit("q", "warm")
        await admin.config_set("maxmemory", 1)
        link.lay(Trap(calls_of(load("submit").sha), lost="request"))

        with pytest.raises(ConnectionFailed, match="out of memory"):
            await client.submit("q", "job")
        with pytest.raises(ServerFull):
            await client.submit("q", "job")


async def test_a_submit_is_in_doubt_where_its_repetition_found_the_queue_full(link: Link) -> None:
    settings = ClientSettings(redis_url=link.url, max_queue_length=1)
    async with AsyncClient(settings=settings) as client:
        await client.submit("q", "warm")
        with pytest.raises(QueueFull):
            await client.submit("q", "job")

        link.lay(Trap(calls_of(load("submit").sha), lost="request"))
        with pytest.raises(ConnectionFailed, match="its repetition was refused: queue 'q' is full"):
            await client.submit("q", "job")
        link.lay(Trap(calls_of(load("submit").sha), lost="request"))
        with pytest.raises(SubmitTimeout):
            await client.submit("q", "job", on_full="wait", timeout_s=0.5)
        link.lay(Trap(calls_of(load("submit").sha), lost="request"))
        with pytest.raises(ConnectionFailed, match="its repetition was refused"):
            await client.submit_many("q", range(3))


@pytest.mark.parametrize("lost", ["request", "reply"])
async def test_a_job_that_was_accepted_is_in_no_doubt_however_often_it_was_sent(
    link: Link, lost: Literal["request", "reply"]
) -> None:
    async with AsyncClient(link.url) as client:
        await client.submit("q", "warm")
        link.lay(Trap(calls_of(load("submit").sha), lost=lost))
        assert (await client.submit("q", "job", job_id="a")).id == "q/a"
