"""Behind sentinels: the primary is found, verified and found again; jobs flow through a failover."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from tests.chaos.kit import Recorder, quick, until
from tests.topologies import SERVICE, Sentinels, Tls, sentinels_of, wait_for

from microbatch.common import scripts
from microbatch.common.connection import BlockingConnection, Connection, Endpoint, blocking_lines
from microbatch.common.connection import subscription as subscription_module
from microbatch.common.connection.subscription import Subscription
from microbatch.common.errors import AuthenticationFailed, ConnectionFailed
from microbatch.common.keys import QueueKeys
from microbatch.producer import AsyncClient, ClientSettings, MicrobatchError, ResultNotFound
from microbatch.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

FAILOVER_S = 20.0  # what a call waits for at most; a failover here takes two seconds


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Sentinels]:
    with sentinels_of("redis", tmp_path) as running:
        yield running


async def eventually(done: Callable[[], Awaitable[bool]]) -> None:
    """Ask again until it is so."""
    async with asyncio.timeout(FAILOVER_S):
        while not await done():  # noqa: ASYNC110 - another process does it
            await asyncio.sleep(0.01)


def patient(url: str) -> ClientSettings:
    return ClientSettings(redis_url=url, command_timeout_s=FAILOVER_S, poll_interval_s=0.5)


async def test_jobs_flow_through_the_death_of_the_primary_and_nothing_that_the_replica_had_is_lost(
    site: Sentinels,
) -> None:
    worker = Worker([Recorder("flow")], settings=quick(site.url, command_timeout_s=FAILOVER_S))
    handles, refused = [], []
    async with worker, AsyncClient(settings=patient(site.url)) as client:

        async def produce() -> None:
            for number in range(400):
                try:
                    handles.append((number, await client.submit("flow", number)))
                except MicrobatchError as error:  # pragma: no cover - shown by the assertion below
                    refused.append(error)
                await asyncio.sleep(0.005)

        producing = asyncio.create_task(produce())
        await until(lambda: len(handles) > 50)
        await asyncio.to_thread(site.primary.kill)
        survived = {key.decode() for key in site.replica_database().keys("mb:{flow}:job:*")}  # type: ignore[union-attr]
        await producing
        outcomes = await asyncio.gather(
            *(job.result(timeout_s=FAILOVER_S) for _, job in handles), return_exceptions=True
        )

        assert refused == []
        assert len(handles) == 400
        assert site.replica.is_primary()
        lost = []
        for (number, job), outcome in zip(handles, outcomes, strict=True):
            if isinstance(outcome, ResultNotFound):
                lost.append(job)
            else:
                assert outcome == number
        assert [job.id for job in lost if job.result_key in survived] == []
        assert await client.call("flow", "after", timeout_s=FAILOVER_S) == "after"


async def test_with_one_of_three_sentinels_gone_the_other_two_still_bring_everybody_to_the_new_primary(
    tmp_path: Path,
) -> None:
    with sentinels_of("redis", tmp_path, count=3) as site:
        patience_s = 3 * FAILOVER_S  # two sentinels have to agree, which may take them several elections
        worker = Worker([Recorder("flow")], settings=quick(site.url, command_timeout_s=patience_s))
        settings = ClientSettings(redis_url=site.url, command_timeout_s=patience_s, poll_interval_s=0.5)
        async with worker, AsyncClient(settings=settings) as client:
            assert await client.call("flow", "before", timeout_s=FAILOVER_S) == "before"
            await asyncio.to_thread(site.sentinels[0].kill)
            assert await client.call("flow", "with two", timeout_s=FAILOVER_S) == "with two"
            await asyncio.to_thread(site.primary.kill)

            assert await client.call("flow", "after", timeout_s=patience_s) == "after"
            assert site.replica.is_primary()
            async with AsyncClient(settings=settings) as newcomer:  # nobody told it anything
                assert await newcomer.call("flow", "new", timeout_s=patience_s) == "new"


async def test_over_tls_sentinels_and_servers_are_verified_and_followed_through_a_failover(
    tmp_path: Path,
) -> None:
    with sentinels_of("redis", tmp_path, tls=Tls.made_in(tmp_path)) as site:
        assert site.url.startswith("rediss+sentinel://")
        worker = Worker([Recorder("flow")], settings=quick(site.url, command_timeout_s=FAILOVER_S))
        async with worker, AsyncClient(settings=patient(site.url)) as client:
            assert await client.call("flow", "before", timeout_s=FAILOVER_S) == "before"
            await asyncio.to_thread(site.primary.kill)
            assert await client.call("flow", "after", timeout_s=FAILOVER_S) == "after"
            assert site.replica.is_primary()

        connection = Connection(Endpoint(site.url.partition("&ssl")[0], 5.0, "test"))  # an eighth a handshake
        with pytest.raises(ConnectionFailed, match="certificate verify failed"):
            await connection.execute("PING")
        await connection.close()


async def test_in_a_planned_failover_nothing_more_is_written_to_the_old_primary(
    site: Sentinels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscription_module, "PING_EVERY_S", 0.05)
    monkeypatch.setattr(blocking_lines, "VERIFY_EVERY_S", 0.05)
    endpoint = Endpoint(site.url, FAILOVER_S, "test")
    connection, blocking = Connection(endpoint), BlockingConnection(endpoint)
    heard: list[bytes] = []
    subscription = Subscription(connection, lambda _, data: heard.append(data), lambda: None)
    keys = QueueKeys("q")
    beat = scripts.heartbeat(keys, "w", [], heartbeat_limit_ms=1000, stale_claim_ms=1000, idle=False)
    database = site.replica_database()
    try:
        await subscription.add("news", timeout_s=5)
        await connection.execute("SET", "mb:which", "old")
        await asyncio.to_thread(blocking.run, beat)
        await asyncio.to_thread(site.wait_until_replicated)

        site.sentinels[0].do("SENTINEL", "FAILOVER", SERVICE)
        await asyncio.to_thread(wait_for, site.replica.is_primary, "the promotion")
        await until(lambda: site.named() == site.replica.port, what="the switch")
        assert site.primary.is_primary()  # still writable: a client that stays would lose what it writes

        async def moved() -> bool:
            await connection.execute("SET", "mb:which", "new")
            return database.get("mb:which") == b"new"

        await eventually(moved)
        database.delete(keys.workers)

        async def beats_here() -> bool:
            await asyncio.to_thread(blocking.run, beat)
            return database.zscore(keys.workers, "w") is not None

        await eventually(beats_here)

        async def hears_here() -> bool:
            database.publish("news", "heard")
            return b"heard" in heard

        await eventually(hears_here)
    finally:
        await subscription.close()
        await connection.close()
        blocking.close()
        database.close()


async def test_after_a_demotion_a_write_finds_the_new_primary(site: Sentinels) -> None:
    endpoint = Endpoint(site.url, FAILOVER_S, "test")
    connection, blocking = Connection(endpoint), BlockingConnection(endpoint)
    beat = scripts.heartbeat(
        QueueKeys("q"), "w", [], heartbeat_limit_ms=1000, stale_claim_ms=1000, idle=False
    )
    try:
        await connection.execute("SET", "mb:which", "old")
        await asyncio.to_thread(blocking.run, beat)
        site.swap_by_hand()

        await asyncio.to_thread(blocking.run, beat)
        await connection.execute("SET", "mb:which", "new")
        with site.replica_database() as database:
            assert database.get("mb:which") == b"new"
            assert database.zscore(QueueKeys("q").workers, "w") is not None
    finally:
        await connection.close()
        blocking.close()


async def test_a_silent_primary_is_left_for_the_one_that_the_sentinels_choose(site: Sentinels) -> None:
    connection = Connection(Endpoint(site.url, 6.0, "test"))
    await connection.execute("SET", "mb:which", "old")
    site.primary.freeze()
    try:
        await connection.execute("SET", "mb:which", "new")
        assert site.replica_database().get("mb:which") == b"new"
    finally:
        site.primary.thaw()
        await connection.close()


async def test_what_is_wrong_with_a_site_is_said(site: Sentinels) -> None:
    for url, kind, words in (
        (site.url.replace(f"/{SERVICE}/", "/other/"), ConnectionFailed, "knows no service 'other'"),
        (site.url.replace("sentry", "wrong"), AuthenticationFailed, "refused"),
        (site.url.replace("p%40ss", "wrong"), AuthenticationFailed, "refused"),
    ):
        connection = Connection(Endpoint(url, 1.0, "test"))
        with pytest.raises(kind, match=words) as caught:
            await connection.execute("PING")
        assert "sentry" not in str(caught.value)
        assert "ss%2Fword" not in str(caught.value)
        await connection.close()
