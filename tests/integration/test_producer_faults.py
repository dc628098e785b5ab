"""Faults: broken subscriptions, hostile bytes, absent servers, and leaving at the wrong moment."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
from typing import TYPE_CHECKING, Self
from urllib.parse import unquote, urlsplit

import msgpack
import pytest
import redis.asyncio as aioredis
from tests.integration.test_producer_stand_in import stand_in, working

from microbatch.common.connection import subscription
from microbatch.producer import (
    AsyncClient,
    AuthenticationFailed,
    ClientClosed,
    ClientSettings,
    ConnectionFailed,
    JobState,
    MicrobatchError,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

NEVER_S = 3600


@pytest.fixture
async def raw(redis_url: str) -> AsyncIterator[aioredis.Redis]:
    async with aioredis.Redis.from_url(redis_url, decode_responses=True) as raw:
        yield raw


def never_polls(url: str) -> ClientSettings:
    return ClientSettings(redis_url=url, poll_interval_s=NEVER_S)


async def subscribed(raw: aioredis.Redis, clients: int = 1) -> list[str]:
    """The reply channels, once there are so many."""
    async with asyncio.timeout(10):
        while len(channels := await raw.pubsub_channels("mb:{q}:reply:*")) < clients:
            pass  # the question itself takes a round trip
    return [str(channel) for channel in channels]


async def test_a_result_that_came_while_the_subscription_was_down_is_found(
    redis_url: str, raw: aioredis.Redis
) -> None:
    async with AsyncClient(settings=never_polls(redis_url)) as client, stand_in(redis_url) as worker:
        job = await client.submit("q", "x")
        held = await worker.claim()
        waiting = asyncio.create_task(job.result(timeout_s=20))
        async with raw.pipeline(transaction=False) as pipeline:
            pipeline.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
            await pipeline.execute()
        await worker.settle(held)

        assert await waiting == "x"


async def test_a_push_that_was_missed_while_nobody_awaited_is_made_up_for(
    redis_url: str, raw: aioredis.Redis
) -> None:
    async with AsyncClient(settings=never_polls(redis_url)) as client, stand_in(redis_url) as worker:
        job = await client.submit("q", "x")
        held = await worker.claim()
        for _ in range(3):
            await raw.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
            await worker.settle(held)
            held = []
        await subscribed(raw)
        again = await client.submit("q", "y")

        assert await job.result(timeout_s=20) == "x"

        await worker.settle(await worker.claim())
        assert await again.result(timeout_s=20) == "y"


async def test_submits_whose_connections_are_cut_add_every_job_once(
    redis_url: str, raw: aioredis.Redis
) -> None:
    async with AsyncClient(redis_url) as client:
        await client.submit("q", 0)
        many = asyncio.create_task(client.submit_many("q", range(20_000)))
        for _ in range(5):
            await raw.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        jobs = await many

        assert len({job.id for job in jobs}) == 20_000
        assert await raw.xlen("mb:{q}:lane:main") == 20_001


async def test_a_foreign_job_is_found_after_the_subscription_broke(
    redis_url: str, raw: aioredis.Redis
) -> None:
    async with (
        AsyncClient(redis_url) as submitter,
        AsyncClient(settings=never_polls(redis_url)) as client,
        stand_in(redis_url) as worker,
    ):
        job = await submitter.submit("q", "x")
        held = await worker.claim()
        waiting = asyncio.create_task(client.job(job.id).result(timeout_s=20))
        await subscribed(raw, clients=2)
        await raw.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        await worker.settle(held)

        assert await waiting == "x"


@pytest.mark.parametrize(
    "garbage", [b"\xc1\xff", b"hello", msgpack.packb({"a": 1}), msgpack.packb([[1], "succeeded", 1])]
)
async def test_garbage_on_the_reply_channel_is_ignored_and_logged_once(
    redis_url: str, raw: aioredis.Redis, caplog: pytest.LogCaptureFixture, garbage: bytes
) -> None:
    async with AsyncClient(settings=never_polls(redis_url)) as client, stand_in(redis_url) as worker:
        job = await client.submit("q", "x")
        (channel,) = await subscribed(raw)
        waiting = asyncio.create_task(job.result(timeout_s=20))
        for _ in range(3):
            await raw.publish(channel, garbage)
        await worker.settle(await worker.claim())

        assert await waiting == "x"
        assert [record.levelname for record in caplog.records if "not ours" in record.message] == ["WARNING"]


async def test_a_forged_fragment_of_an_unknown_job_changes_nothing(
    redis_url: str, raw: aioredis.Redis
) -> None:
    async with AsyncClient(redis_url) as client, working(redis_url):
        await client.submit("q", 0)
        (channel,) = await subscribed(raw)
        await raw.publish(channel, msgpack.packb(["unknown", "succeeded", 1]))

        assert await client.call("q", "x", timeout_s=30) == "x"


class Relay:
    """A TCP relay to the server's socket that can fall silent without closing: a half-open connection."""

    def __init__(self, url: str) -> None:
        self._path = unquote(urlsplit(url).path)
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []
        self._pumps: list[asyncio.Task[None]] = []
        self.silent: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.gather(*self._pumps)

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/0"

    def fall_silent(self) -> None:
        """Pass nothing on any more over the connections that are open now."""
        self.silent.update(self._pumps)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_unix_connection(self._path)
        self._writers += (writer, far_writer)
        for source, sink in ((reader, far_writer), (far_reader, writer)):
            self._pumps.append(asyncio.create_task(self._pump(source, sink)))

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await source.read(65536):
                if asyncio.current_task() not in self.silent:
                    sink.write(data)
        sink.transport.abort()


async def test_a_half_open_subscription_is_found_and_replaced(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscription, "PING_EVERY_S", 0.05)
    monkeypatch.setattr(subscription, "SILENT_AFTER_S", 0.11)
    async with (
        Relay(redis_url) as relay,
        AsyncClient(
            settings=ClientSettings(redis_url=relay.url, poll_interval_s=NEVER_S, command_timeout_s=0.5)
        ) as client,
        stand_in(redis_url) as worker,
    ):
        job = await client.submit("q", "x")
        waiting = asyncio.create_task(job.result(timeout_s=20))
        held = await worker.claim()
        relay.fall_silent()
        await worker.settle(held)

        assert await waiting == "x"


async def test_a_server_that_is_away_fails_the_opening_in_time() -> None:
    client = AsyncClient(
        settings=ClientSettings(redis_url="unix:///nowhere/redis.sock", command_timeout_s=0.2)
    )
    started_s = time.monotonic()
    with pytest.raises(ConnectionFailed):
        await client.open()

    assert time.monotonic() - started_s < 4.5  # and not the 5 s of the default
    with pytest.raises(ClientClosed):
        await client.submit("q", 1)


async def test_a_wrong_password_is_an_authentication_failure_and_is_not_shown(
    redis_url: str, raw: aioredis.Redis
) -> None:
    await raw.execute_command("ACL", "SETUSER", "other", "on", ">right", "~*", "&*", "+@all")
    async with Relay(redis_url) as relay:
        wrong = relay.url.replace("redis://", "redis://other:sesame@")
        with pytest.raises(AuthenticationFailed) as caught:
            await AsyncClient(wrong).open()

    assert "sesame" not in str(caught.value)


async def test_a_user_without_rights_on_the_channels_is_told_so_at_once(
    redis_url: str, raw: aioredis.Redis
) -> None:
    await raw.execute_command("ACL", "SETUSER", "deaf", "on", ">right", "~*", "resetchannels", "+@all")
    async with AsyncClient(redis_url.replace("unix://", "unix://deaf:right@")) as client:
        with pytest.raises(AuthenticationFailed):
            await client.submit("q", 1)


async def test_closing_lets_submits_land_and_fails_whoever_still_waits(redis_url: str) -> None:
    client = AsyncClient(redis_url)
    await client.open()
    job = await client.submit("q", 0)
    submits = [asyncio.create_task(client.submit("q", number)) for number in range(500)]
    waiting = asyncio.create_task(job.result())
    many = asyncio.create_task(client.map("q", range(10)))
    for _ in range(5):
        await asyncio.sleep(0)
    await client.close()
    outcomes = await asyncio.gather(*submits, waiting, many, return_exceptions=True)

    assert not [outcome for outcome in outcomes[:500] if isinstance(outcome, BaseException)]
    assert [type(outcome) for outcome in outcomes[500:]] == [ClientClosed, ClientClosed]
    for ask in (job.result, job.status, client.queues):
        with pytest.raises(ClientClosed):
            await ask()
    await client.close()
    with pytest.raises(ClientClosed):
        await client.open()


async def test_a_closed_client_leaves_no_task_and_no_connection(redis_url: str, raw: aioredis.Redis) -> None:
    before = asyncio.all_tasks()
    async with AsyncClient(redis_url) as client, working(redis_url):
        await client.map("q", range(1000))
        assert len(asyncio.all_tasks()) > len(before)
    gc.collect()

    assert asyncio.all_tasks() == before
    names = [entry["name"] for entry in await raw.client_list()]
    assert "microbatch-producer" not in names


async def test_closing_while_the_server_does_not_answer_is_bounded(
    redis_url: str, raw: aioredis.Redis
) -> None:
    client = AsyncClient(settings=ClientSettings(redis_url=redis_url, command_timeout_s=0.4))
    await client.open()
    await client.submit("q", 0)
    await raw.execute_command("CLIENT", "PAUSE", "10000", "WRITE")
    try:
        submits = [asyncio.create_task(client.submit("q", 1)) for _ in range(3)]
        await asyncio.sleep(0)
        started_s = time.monotonic()
        await client.close()
        outcomes = await asyncio.gather(*submits, return_exceptions=True)
    finally:
        await raw.execute_command("CLIENT", "UNPAUSE")

    assert time.monotonic() - started_s < 9  # when the server would answer again
    assert all(isinstance(outcome, MicrobatchError) for outcome in outcomes)


async def test_waits_that_are_cancelled_at_random_hurt_nobody_else(redis_url: str) -> None:
    async with AsyncClient(redis_url) as client, working(redis_url):
        jobs = await client.submit_many("q", range(300))
        waits = [asyncio.create_task(job.result()) for job in jobs for _ in range(2)]
        await asyncio.sleep(0)
        for wait in waits[::2]:
            wait.cancel()
        kept = await asyncio.gather(*waits[1::2])

        assert kept == list(range(300))
        assert (await jobs[0].status()).state is JobState.SUCCEEDED
