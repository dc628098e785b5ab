"""`microbatch doctor` where Redis is more than one server."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from tests.topologies import cluster_of, sentinels_of

from microbatch.common.connection import Connection, Endpoint
from microbatch.console.doctor.checks import diagnose
from microbatch.console.doctor.examiner import Examiner
from microbatch.console.doctor.gathering import Scope, gather
from microbatch.console.doctor.roles import ROLES
from microbatch.producer import AsyncClient

if TYPE_CHECKING:
    from pathlib import Path

    from microbatch.console.doctor.facts import Facts


async def gathered(url: str) -> Facts:
    connection = Connection(Endpoint(url, 10.0, "test"))
    try:
        scope = Scope((), tuple(role.name for role in ROLES), None, 10.0, url)
        return await gather(Examiner(connection), scope, wall_clock_s=time.time)
    finally:
        await connection.close()


@pytest.mark.parametrize("engine", ["redis", "valkey"])
async def test_in_a_cluster_every_node_that_has_a_queue_is_looked_at(engine: str, tmp_path: Path) -> None:
    with cluster_of(engine, tmp_path) as cluster:
        first, second = cluster.queue_at(cluster.nodes[0]), cluster.queue_at(cluster.nodes[1])
        async with AsyncClient(cluster.url) as client:
            for queue in (first, second):
                await client.submit(queue, 1)

        facts = await gathered(cluster.url)

    ports = {str(node.port) for node in cluster.nodes[:2]}
    assert {server.info["tcp_port"] for server in facts.servers} == ports
    assert [(queue.name, queue.waiting) for queue in facts.queues] == sorted([(first, 1), (second, 1)])
    assert facts.access.missing == {role.name: () for role in ROLES}
    assert facts.keys.complete
    assert facts.keys.seen == 4  # a record and a lane each
    named = {each.subject for each in diagnose(facts) if each.check == "memory"}
    assert named == {f"port {port}" for port in ports}


async def test_through_sentinels_the_primary_is_looked_at(tmp_path: Path) -> None:
    with sentinels_of("redis", tmp_path) as site:
        facts = await gathered(site.url)
        port = str(site.primary.port)

    assert [server.info["tcp_port"] for server in facts.servers] == [port]
    told = [each.fact for each in diagnose(facts) if each.check == "replication"]
    assert told[0].startswith("replicas: 1, min-replicas-to-write 0")
