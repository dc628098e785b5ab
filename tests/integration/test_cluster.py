"""On a cluster: calls go where the queue lives, while slots move and scripts and nodes come and go."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from tests.chaos.kit import Recorder, quick, until
from tests.chaos.link import Link
from tests.topologies import Cluster, Tls, cluster_of, wait_for

from microbatch.common import scripts
from microbatch.common.connection import BlockingConnection, Connection, Endpoint
from microbatch.common.connection import subscription as subscription_module
from microbatch.common.connection.subscription import Subscription
from microbatch.common.errors import ConnectionFailed, ServerError
from microbatch.common.keys import QueueKeys
from microbatch.console.admin import Admin
from microbatch.console.job_filter import JobFilter
from microbatch.producer import AsyncClient, ClientSettings, NotReplicated
from microbatch.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PATIENCE_S = 20.0  # what a call waits for at most; a replica here is promoted in three seconds


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster_of("valkey", tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture
def cluster(running: Cluster) -> Cluster:
    """The module's cluster, without data, every slot where the first test found it."""
    for node in running.nodes:
        node.do("FLUSHALL")
        node.do("SCRIPT", "FLUSH")
        node.do("CONFIG", "RESETSTAT")
    return running


def patient(cluster: Cluster) -> ClientSettings:
    return ClientSettings(redis_url=cluster.url, command_timeout_s=PATIENCE_S, poll_interval_s=0.5)


def beat(queue: str) -> scripts.Call[scripts.Look]:
    keys = QueueKeys(queue)
    return scripts.heartbeat(keys, "w", [], heartbeat_limit_ms=1000, stale_claim_ms=1000, idle=False)


async def test_whole_jobs_of_queues_on_every_node(cluster: Cluster) -> None:
    queues = [cluster.queue_at(node) for node in cluster.nodes]
    async with (
        Worker([Recorder(queue) for queue in queues], settings=quick(cluster.url)),
        AsyncClient(settings=patient(cluster)) as client,
    ):
        for queue in queues:
            assert await client.map(queue, range(300), timeout_s=PATIENCE_S) == list(range(300))
        assert sorted(await client.queues()) == sorted(queues)
        assert (await client.queue_status(queues[0])).workers == 1


async def test_over_tls_every_node_is_verified(tmp_path: Path) -> None:
    with cluster_of("redis", tmp_path, tls=Tls.made_in(tmp_path)) as cluster:
        assert cluster.url.startswith("rediss+cluster://")
        queues = [cluster.queue_at(node) for node in cluster.nodes]
        async with (
            Worker([Recorder(queue) for queue in queues], settings=quick(cluster.url)),
            AsyncClient(settings=patient(cluster)) as client,
        ):
            for queue in queues:
                assert await client.map(queue, range(10), timeout_s=PATIENCE_S) == list(range(10))

        # One seed alone: another one of the URL leads nowhere, and whichever failed first is told.
        connection = Connection(Endpoint(f"rediss+cluster://{cluster.nodes[1].address}", 1.0, "test"))
        with pytest.raises(ConnectionFailed, match="certificate verify failed"):
            await connection.execute("PING")
        await connection.close()


async def test_jobs_of_queues_on_every_node_are_listed_cancelled_and_retried(cluster: Cluster) -> None:
    async with AsyncClient(settings=patient(cluster)) as client, Admin(settings=patient(cluster)) as admin:
        for node in cluster.nodes:
            queue = cluster.queue_at(node, "listed")
            await client.submit_many(queue, range(600))
            await client.submit_many(queue, range(200), batch_key="k", delay_s=None)
            await client.submit_many(queue, range(100), delay_s=500)
            jobs = admin.jobs(queue)
            rows = [row async for page in jobs.pages() for row in page.jobs]
            assert len({row.id for row in rows}) == len(rows) == 900
            assert {row.id.partition("/")[0] for row in rows if row.id} == {queue}
            ended = [one async for step in jobs.cancel_all(JobFilter(batch_key="k")) for one in step]
            assert len(ended) == 200
            found = [row async for page in jobs.pages(JobFilter({"cancelled"})) for row in page.jobs]
            assert {row.id for row in found} == {one.id for one in ended}
            due = [one async for step in jobs.retry_all(JobFilter({"scheduled"})) for one in step]
            assert [one.answer for one in due] == ["due"] * 100


async def test_replicas_are_waited_for_at_the_node_of_the_queue(cluster: Cluster) -> None:
    with_replica, without = (cluster.queue_at(node, "safe") for node in cluster.nodes[:2])
    settings = ClientSettings(redis_url=cluster.url, command_timeout_s=1)
    async with AsyncClient(settings=settings) as client:
        job = await client.submit(with_replica, 1, durability="replicated")
        assert cluster.replica.do("KEYS", job.result_key) == [job.result_key.encode()]
        with pytest.raises(NotReplicated):
            await client.submit(without, 1, durability="replicated")


async def test_scripts_are_loaded_at_the_node_that_does_not_know_them(cluster: Cluster) -> None:
    connection = Connection(Endpoint(cluster.url, 5.0, "test"))
    blocking = BlockingConnection(Endpoint(cluster.url, 5.0, "test"))
    for node in cluster.nodes:
        queue = cluster.queue_at(node)
        await connection.run(beat(queue))
        node.do("SCRIPT", "FLUSH")
        await asyncio.to_thread(blocking.run, beat(queue))
        assert node.do("ZSCORE", QueueKeys(queue).workers, "w") is not None
    blocking.close()
    await connection.close()


async def test_a_slot_moves_under_load_and_no_job_is_lost_or_doubled(cluster: Cluster) -> None:
    source, target = cluster.nodes[1], cluster.nodes[2]
    queue = cluster.queue_at(source, "moving")
    slot = cluster.slot(QueueKeys(queue).prefix)
    recorder = Recorder(queue)
    jobs: list[Any] = []
    stopping = asyncio.Event()
    settings = quick(cluster.url, command_timeout_s=PATIENCE_S)
    async with Worker([recorder], settings=settings), AsyncClient(settings=patient(cluster)) as client:

        async def produce() -> None:
            while not stopping.is_set():
                jobs.append((len(jobs), await client.submit(queue, len(jobs))))

        producing = asyncio.create_task(produce())
        await until(lambda: len(jobs) > 100)
        cluster.open_migration(slot, source, target)
        await until(lambda: source.do("CLUSTER", "COUNTKEYSINSLOT", slot) > 0)
        while cluster.move_keys(slot, source, target, 7):  # noqa: ASYNC110 - nothing would set an event
            await asyncio.sleep(0)  # calls go on, and find some of the keys here and some there
        assert target.do("CLUSTER", "COUNTKEYSINSLOT", slot) > 0
        before = len(jobs)
        cluster.close_migration(slot, target)
        await until(lambda: len(jobs) > before + 100, what="submits after the move")
        stopping.set()
        await producing
        results = await asyncio.gather(*(job.result(timeout_s=PATIENCE_S) for _, job in jobs))

    assert results == [number for number, _ in jobs]
    ran = [payload for batch in recorder.batches for payload in batch.payloads]
    assert sorted(ran) == sorted(results)
    assert source.do("CLUSTER", "COUNTKEYSINSLOT", slot) == 0


async def test_a_plain_command_follows_an_ask_and_a_script_waits_for_the_whole_slot(cluster: Cluster) -> None:
    source, target = cluster.nodes[1], cluster.nodes[2]
    queue = cluster.queue_at(source, "asked")
    keys = QueueKeys(queue)
    slot = cluster.slot(keys.prefix)
    connection = Connection(Endpoint(cluster.url, 1.0, "test"))
    blocking = BlockingConnection(Endpoint(cluster.url, PATIENCE_S, "test"))
    await connection.run(beat(queue))
    cluster.open_migration(slot, source, target)

    await connection.execute("SET", keys.job("new"), "there")
    with pytest.raises(ConnectionFailed, match=f"slot {slot} is on its way to"):
        await connection.run(beat(queue))
    asked = source.errors("ASK")
    waiting = asyncio.create_task(asyncio.to_thread(blocking.run, beat(queue)))
    await until(lambda: source.errors("ASK") > asked)
    while cluster.move_keys(slot, source, target, 7):
        pass
    assert not waiting.done()
    cluster.close_migration(slot, target)
    await waiting
    await connection.run(beat(queue))

    assert target.do("GET", keys.job("new")) == b"there"
    assert target.do("ZCARD", keys.workers) == 1
    blocking.close()
    await connection.close()


async def test_a_slot_that_nobody_serves_is_waited_for(cluster: Cluster) -> None:
    node = cluster.nodes[2]
    queue = cluster.queue_at(node, "orphaned")
    slot = cluster.slot(QueueKeys(queue).prefix)
    connection = Connection(Endpoint(cluster.url, PATIENCE_S, "test"))
    await connection.run(beat(queue))
    node.do("CLUSTER", "DELSLOTS", slot)
    wait_for(lambda: b"cluster_state:fail" in node.do("CLUSTER", "INFO"), "the loss of a slot")
    waiting = asyncio.create_task(connection.run(beat(queue)))
    await until(lambda: any(member.errors("CLUSTERDOWN") for member in cluster.nodes))
    assert not waiting.done()
    node.do("CLUSTER", "ADDSLOTS", slot)

    await waiting
    await connection.close()


async def test_a_listener_hears_every_node_and_leaves_one_that_leaves_the_cluster(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscription_module, "PING_EVERY_S", 0.02)
    connection = Connection(Endpoint(cluster.url, 5.0, "test"))
    heard: list[bytes] = []
    connected: list[int] = []
    subscription = Subscription(connection, lambda _, data: heard.append(data), lambda: connected.append(1))
    await subscription.add("news", timeout_s=5)
    for number, node in enumerate(cluster.nodes):
        node.do("PUBLISH", "news", number)
    await until(lambda: len(heard) == len(cluster.nodes))

    monkeypatch.setattr(connection, "is_stale", lambda line: len(connected) == 1 and line is not None)
    await until(lambda: len(connected) > 1, what="a new subscription")
    cluster.nodes[0].do("PUBLISH", "news", "again")
    await until(lambda: b"again" in heard)
    await subscription.close()
    await connection.close()


async def test_a_node_of_a_cluster_is_not_taken_for_a_server_of_its_own(cluster: Cluster) -> None:
    queue = cluster.queue_at(cluster.nodes[0])
    connection = Connection(Endpoint(f"redis://{cluster.nodes[1].address}", 5.0, "test"))
    with pytest.raises(ServerError, match=r"use redis\+cluster://"):
        await connection.run(beat(queue))
    await connection.close()


async def test_a_server_without_a_cluster_is_not_taken_for_one(redis_url: str) -> None:
    path = redis_url.removeprefix("unix://").partition("?")[0]
    async with Link(path) as link:
        connection = Connection(Endpoint(f"redis+cluster://127.0.0.1:{link.port}", 5.0, "test"))
        with pytest.raises(ServerError, match="cluster support disabled"):
            await connection.run(beat("q"))
        await connection.close()
