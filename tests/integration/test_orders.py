"""Orders to real workers: on a cluster, twice, garbage, and one that dies after it took its order."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from tests.chaos.kit import Desk, Recorder, desk_at, quick, until
from tests.topologies import cluster_of

from microbatch.common import scripts
from microbatch.common.connection import Connection, Endpoint
from microbatch.common.orders import Order
from microbatch.console.admin import Admin
from microbatch.worker import Worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

TTL_MS = 60_000


@pytest.fixture
def desk(redis_url: str) -> Iterator[Desk]:
    with desk_at(redis_url) as made:
        yield made


@pytest.fixture
async def connection(redis_url: str) -> AsyncIterator[Connection]:
    made = Connection(Endpoint(redis_url, 5.0, "test"))
    yield made
    await made.close()


async def is_listed(worker: Worker) -> None:
    await until(lambda: worker.heartbeat is not None and worker.heartbeat.reached_s is not None)


async def test_on_a_cluster_a_worker_of_queues_on_every_node_is_listed_once_and_answers(
    tmp_path: Path,
) -> None:
    with cluster_of("valkey", tmp_path) as cluster:
        queues = sorted(cluster.queue_at(node) for node in cluster.nodes)
        settings = quick(cluster.url, labels="gpu")
        async with Worker([Recorder(queue) for queue in queues], settings=settings) as worker:
            await is_listed(worker)
            async with Admin(cluster.url) as admin:
                (row,) = await admin.crew().workers(labels=["gpu"])
                assert (row.worker, row.queues) == (worker.id, queues)
                replies = await admin.crew().order("resize", {"concurrency": 3}, workers=[row])
                assert [(reply.queue, reply.status) for reply in replies] == [
                    (each, "done") for each in queues
                ]
                (reply,) = await admin.crew().order("stop", workers=[row])
                assert reply.status == "refused"  # it runs inside of this program


async def test_an_order_that_arrives_twice_is_carried_out_once_although_its_answer_is_gone(
    desk: Desk, connection: Connection
) -> None:
    given = Order("twice", "quiet", {}, "me@here")
    async with Worker([Recorder("work")], settings=quick(desk.url)) as worker:
        await is_listed(worker)
        for takes_work in (False, True):
            desk.redis.delete(desk.keys.acks("twice"))
            await connection.run(scripts.order(desk.keys, given, ttl_ms=TTL_MS, workers=[worker.id]))
            await until(lambda: desk.redis.exists(desk.keys.acks("twice")))
            assert worker._agents[0].claimer.takes_work is takes_work
            worker.resume()


async def test_hostile_garbage_among_the_orders_costs_itself_only(desk: Desk) -> None:
    async with Worker([Recorder("work")], settings=quick(desk.url)) as worker, Admin(desk.url) as admin:
        await is_listed(worker)
        desk.redis.hset(
            desk.keys.orders(worker.id),
            mapping={
                "junk": b"\x00" * 100_000,
                "bytes": b"1 99999999999999 \xff\xfe\n",
                "explode": "1 99999999999999 explode now=1\nme",
            },
        )
        (reply,) = await admin.crew().order("ping", workers=await admin.crew().workers())
        assert reply.status == "done"
        await until(lambda: not desk.redis.exists(desk.keys.orders(worker.id)))
        answer = desk.redis.hget(desk.keys.acks("explode"), worker.id)
        assert isinstance(answer, bytes)
        assert b"refused" in answer


async def test_a_worker_that_dies_after_it_took_its_order_has_not_answered_and_nobody_inherits_it(
    desk: Desk, connection: Connection
) -> None:
    beat = scripts.heartbeat(
        desk.keys, "doomed", [], heartbeat_limit_ms=10_000, stale_claim_ms=5_000, idle=False
    )
    async with Worker([Recorder("work")], settings=quick(desk.url)) as worker, Admin(desk.url) as admin:
        await is_listed(worker)
        await connection.run(beat)
        doomed = await admin.crew().workers(ids=["doomed"])
        ordering = asyncio.create_task(admin.crew().order("quiet", workers=doomed, timeout_s=1))
        await until(lambda: desk.redis.exists(desk.keys.orders("doomed")))
        assert [order.name for order in (await connection.run(beat)).orders] == ["quiet"]
        (reply,) = await ordering
        assert reply.status == "unanswered"
        await until(lambda: not desk.redis.exists(desk.keys.orders("doomed")))
        assert worker._agents[0].claimer.takes_work
