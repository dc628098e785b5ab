"""A node of a cluster dies under load: its replica takes its place, and the queue goes on there."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from tests.chaos.kit import Recorder, quick, until
from tests.topologies import cluster_of

from microbatch.producer import AsyncClient, ClientSettings, ResultNotFound
from microbatch.worker import Worker

if TYPE_CHECKING:
    from pathlib import Path

PATIENCE_S = 30.0


async def test_jobs_flow_through_the_death_of_a_node_and_nothing_that_its_replica_had_is_lost(
    tmp_path: Path,
) -> None:
    with cluster_of("valkey", tmp_path) as cluster:
        queue = cluster.queue_at(cluster.nodes[0])
        client_settings = ClientSettings(
            redis_url=cluster.url, command_timeout_s=PATIENCE_S, poll_interval_s=0.5
        )
        jobs: list[Any] = []
        stopping = asyncio.Event()
        worker = Worker([Recorder(queue)], settings=quick(cluster.url, command_timeout_s=PATIENCE_S))
        async with worker, AsyncClient(settings=client_settings) as client:

            async def produce() -> None:
                while not stopping.is_set():
                    jobs.append((len(jobs), await client.submit(queue, len(jobs))))
                    await asyncio.sleep(0.002)

            producing = asyncio.create_task(produce())
            await until(lambda: len(jobs) > 100)
            await asyncio.to_thread(cluster.nodes[0].kill)
            survived = {key.decode() for key in cluster.replica.do("KEYS", f"mb:{{{queue}}}:job:*")}
            before = len(jobs)
            await until(lambda: len(jobs) > before + 100, PATIENCE_S, "submits after the promotion")
            stopping.set()
            await producing
            outcomes = await asyncio.gather(
                *(job.result(timeout_s=PATIENCE_S) for _, job in jobs), return_exceptions=True
            )

        assert cluster.replica.is_primary()
        for (number, job), outcome in zip(jobs, outcomes, strict=True):
            if isinstance(outcome, ResultNotFound):
                assert job.result_key not in survived
            else:
                assert outcome == number
