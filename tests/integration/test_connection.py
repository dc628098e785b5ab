"""The connection in trouble: cancelled calls, refused handshakes, a demoted server, a call during close."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

import pytest
import redis.asyncio as aioredis
from tests.integration.test_producer_stand_in import working

from microbatch.common.codec import encode
from microbatch.common.connection import Connection, Endpoint
from microbatch.common.embedded import EmbeddedServer
from microbatch.common.errors import ClientClosed, ServerError
from microbatch.producer import AsyncClient, ClientSettings

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def second_server() -> Iterator[EmbeddedServer]:
    with EmbeddedServer() as server:
        yield server


async def test_a_cancelled_command_never_leaves_its_reply_for_the_next_caller(redis_url: str) -> None:
    connection = Connection(Endpoint(redis_url, 5.0, "test"))
    rng = random.Random(7)  # noqa: S311 - a fixed seed: the run can be repeated

    async def ask(number: int) -> None:
        assert await connection.execute("ECHO", f"{number}") == f"{number}".encode()

    for round_ in range(100):
        tasks = [asyncio.create_task(ask(round_ * 10 + number)) for number in range(10)]
        for _ in range(rng.randrange(6)):
            await asyncio.sleep(0)
        for task in rng.sample(tasks, 5):
            task.cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            assert outcome is None or isinstance(outcome, asyncio.CancelledError)
    await connection.close()


async def test_a_database_that_does_not_exist_is_refused_and_not_another_one_used(redis_url: str) -> None:
    connection = Connection(Endpoint(redis_url.partition("?")[0] + "?db=99", 5.0, "test"))

    for _ in range(2):
        with pytest.raises(ServerError, match="out of range"):
            await connection.execute("SET", "mb:stray", "1")
    await connection.close()


async def test_a_call_during_close_ends_and_leaves_no_connection(redis_url: str) -> None:
    connection = Connection(Endpoint(redis_url, 5.0, "closing"))
    async with aioredis.Redis.from_url(redis_url, protocol=2) as raw:
        await connection.execute("PING")
        await raw.execute_command("CLIENT", "PAUSE", 300, "ALL")
        call = asyncio.create_task(connection.execute("PING"))
        await asyncio.sleep(0)
        await connection.close()
        with pytest.raises(ClientClosed):
            await call
        names = [client["name"] for client in await raw.client_list()]

    assert "closing" not in names


async def test_after_a_demotion_calls_reach_the_server_that_the_address_leads_to_now(
    redis_url: str, second_server: EmbeddedServer
) -> None:
    backend = [redis_url, second_server.url]

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = backend[0].removeprefix("unix://").partition("?")[0]
        there, back = await asyncio.open_unix_connection(path)

        async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            while data := await source.read(65536):
                target.write(data)
            target.close()

        await asyncio.gather(pump(reader, back), pump(there, writer), return_exceptions=True)

    async with await asyncio.start_server(forward, "127.0.0.1", 0) as proxy:
        port = proxy.sockets[0].getsockname()[1]
        connection = Connection(Endpoint(f"redis://127.0.0.1:{port}/0", 5.0, "test"))
        await connection.execute("SET", "mb:which", "old")
        async with aioredis.Redis.from_url(redis_url, protocol=2) as old:
            await old.execute_command("REPLICAOF", "127.0.0.1", "1")
            backend.reverse()
            try:
                await connection.execute("SET", "mb:which", "new")
            finally:
                await old.execute_command("REPLICAOF", "NO", "ONE")
        await connection.close()

    async with aioredis.Redis.from_url(second_server.url, protocol=2) as new:
        assert await new.get("mb:which") == b"new"


async def test_results_too_large_for_one_reply_are_read_in_several(redis_url: str) -> None:
    settings = ClientSettings(redis_url=redis_url, command_timeout_s=2)
    value = encode("x" * 400_000)
    async with AsyncClient(settings=settings) as client:
        jobs = await client.submit_many("large", range(40))
        async with working(redis_url, "large", lambda _: (True, value)):
            finished: list[Any] = [job async for job in client.as_completed(jobs, timeout_s=30)]

        assert len(finished) == 40
        assert {len(await job.result()) for job in finished} == {400_000}


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_line_that_was_reset_while_it_lay_idle_is_replaced_on_every_loop(redis_url: str, loop: str) -> None:
    factory = asyncio.new_event_loop if loop == "asyncio" else pytest.importorskip("uvloop").new_event_loop

    async def ask_twice() -> None:
        connection = Connection(Endpoint(redis_url, 5.0, "test"))
        assert await connection.execute("PING") == b"PONG"
        lines: Any = connection._lines
        for line in lines._free:
            line._writer.transport.abort()  # as a reset does, and unlike an orderly end
        await asyncio.sleep(0)
        assert await connection.execute("PING") == b"PONG"
        await connection.close()

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(ask_twice())
