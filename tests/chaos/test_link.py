"""The proxy does to a connection exactly what it was told, and to nothing else."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import redis.asyncio as aioredis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as LostConnection
from redis.exceptions import TimeoutError as NoAnswer
from redis.retry import Retry
from tests.chaos.link import Link, Trap, calls_of

from microbatch.common.codec import encode
from microbatch.common.connection import Connection, Endpoint
from microbatch.common.identifiers import payload_digest
from microbatch.common.keys import QueueKeys
from microbatch.common.scripts import NewJob, SubmitCode, submit
from microbatch.common.scripts.script import load

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.servers import Servers

PATIENCE_S = 0.2


def path_of(servers: Servers, engine: str) -> str:
    return servers.url(engine).removeprefix("unix://").partition("?")[0]


@pytest.fixture
async def link(servers: Servers) -> AsyncIterator[Link]:
    async with Link(path_of(servers, "valkey")) as made:
        yield made


@pytest.fixture
async def client(link: Link) -> AsyncIterator[Any]:
    """A client that repeats nothing."""
    made: Any = aioredis.Redis.from_url(
        link.url, protocol=2, retry=Retry(NoBackoff(), 0), single_connection_client=True, socket_timeout=5
    )
    yield made
    await made.aclose()


async def test_a_healthy_link_passes_everything_on(client: Any) -> None:
    big = b"\r\n$5\r\n" * 100_000
    await client.set("a", big)
    assert await client.get("a") == big
    assert await client.lrange("none", 0, -1) == []


async def test_a_lost_reply_is_of_a_command_that_was_executed(link: Link, client: Any) -> None:
    await client.set("n", 0)
    link.lay(Trap(lambda command: command[0] == b"INCRBY", nth=2))
    assert await client.incr("n") == 1
    with pytest.raises(LostConnection):
        await client.incr("n")
    assert await client.get("n") == b"2"
    assert link.happened == {"lost_reply": 1}


async def test_a_lost_request_is_of_a_command_that_was_not(link: Link, client: Any) -> None:
    link.lay(Trap(lambda command: command[0] == b"INCRBY", lost="request"))
    with pytest.raises(LostConnection):
        await client.incr("n")
    assert await client.get("n") is None


async def test_a_reply_that_is_lost_in_silence_leaves_the_client_waiting(link: Link, client: Any) -> None:
    link.lay(Trap(lambda command: command[0] == b"INCRBY", then="silent"))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(client.incr("n"), PATIENCE_S)
    assert await client.get("n") == b"1"  # over a fresh connection


async def test_the_reply_of_one_script_can_be_lost_among_all_others(link: Link) -> None:
    connection = Connection(Endpoint(link.url, 5.0, "test"))
    data = encode(1)
    call = submit(QueueKeys("q"), "c", [NewJob("a", payload_digest(data), data)], max_queue_length=9)
    await connection.execute("SCRIPT", "LOAD", load("submit").text)
    link.lay(Trap(calls_of(load("submit").sha)))
    assert (await connection.run(call)).codes == [SubmitCode.SAME]
    assert link.happened == {"lost_reply": 1}
    await connection.close()


async def test_replies_are_counted_right_behind_subscriptions_and_messages(link: Link, client: Any) -> None:
    pubsub = client.pubsub()
    await pubsub.subscribe("a", "b")
    other: Any = aioredis.Redis.from_url(link.url, protocol=2)
    await other.publish("a", "hello")
    link.lay(Trap(lambda command: command[0] == b"PING"))
    heard = [await pubsub.get_message(timeout=5) for _ in range(3)]
    assert [message["type"] for message in heard] == ["subscribe", "subscribe", "message"]
    await pubsub.connection.send_command("PING")
    with pytest.raises(LostConnection):
        await pubsub.connection.read_response()
    await pubsub.aclose()
    await other.aclose()


@pytest.mark.parametrize("direction", ["to_server", "to_client"])
async def test_a_stalled_direction_keeps_what_comes_until_it_is_healed(
    link: Link, client: Any, direction: Any
) -> None:
    await client.ping()
    link.stall(direction)
    asked = asyncio.ensure_future(client.incr("n"))
    done, _ = await asyncio.wait({asked}, timeout=PATIENCE_S)
    assert done == set()
    link.heal()
    assert await asked == 1


async def test_a_cut_comes_after_exactly_so_many_bytes(link: Link) -> None:
    link.cut_after(9, "to_client")
    reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
    writer.write(b"*1\r\n$4\r\nPING\r\n" * 2)
    assert await reader.readexactly(7) == b"+PONG\r\n"
    with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)) as cut:
        await reader.readexactly(7)
    if isinstance(cut.value, asyncio.IncompleteReadError):
        assert cut.value.partial == b"+P"
    writer.close()
    assert link.happened == {"cut": 1}


async def test_a_reset_ends_connections_and_lets_new_ones_in(link: Link, client: Any) -> None:
    await client.ping()
    link.reset()
    with pytest.raises(LostConnection):
        await client.ping()
    assert await client.ping()


async def test_a_half_open_connection_is_never_answered_again(link: Link, client: Any) -> None:
    await client.set("n", 1)
    link.half_open()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(client.get("n"), PATIENCE_S)
    assert await client.get("n") == b"1"  # a new one is


async def test_a_refusing_link_lets_nobody_new_in(link: Link, client: Any) -> None:
    await client.ping()
    link.refuse()
    assert await client.ping()
    reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
    with pytest.raises(ConnectionResetError):
        await reader.read(1)
    writer.close()
    link.heal()
    async with aioredis.Redis.from_url(link.url) as friend:
        assert await friend.ping()


async def test_a_slow_link_changes_nothing_but_the_time(link: Link, client: Any) -> None:
    link.slow(3, 0.001)
    await client.set("a", b"some bytes\r\n")
    assert await client.get("a") == b"some bytes\r\n"


async def test_the_address_can_lead_to_another_server(link: Link, client: Any, servers: Servers) -> None:
    await client.set("a", 1)
    link.swap(path_of(servers, "redis"))
    with pytest.raises(LostConnection):
        await client.get("a")
    assert await client.get("a") is None


async def test_a_server_that_is_away_looks_like_one(link: Link, client: Any) -> None:
    link.swap("/nonexistent.sock")
    with pytest.raises((LostConnection, NoAnswer)):
        await client.ping()
