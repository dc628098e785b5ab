"""The server is killed and comes back with its data, while jobs are waiting, running and being settled."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from tests.chaos.fleet import Fleet
from tests.chaos.kit import desk_at, wait_until
from tests.chaos.processors import QUEUE, digest

from microbatch.common.embedded import EmbeddedServer

if TYPE_CHECKING:
    from pathlib import Path

    import redis


def test_a_server_that_is_killed_and_restarted_loses_no_job_and_doubles_no_result(tmp_path: Path) -> None:
    payloads = [{"n": number, "ms": number % 7} for number in range(300)]
    data = tmp_path / "data"
    with EmbeddedServer(data) as server, desk_at(server.url, QUEUE) as desk:
        assert desk.redis.config_get("appendonly") == {"appendonly": "yes"}
        with Fleet(desk, tmp_path, "digests", max_batch_size=4, max_wait_ms=1, concurrency=2) as fleet:
            for _ in range(2):
                fleet.start().ready()
            ids = desk.submit(*payloads)
            for part in (50, 150):
                wait_until(lambda part=part: _final(desk.redis, desk.keys.prefix, ids) > part)  # type: ignore[misc]
                killed = server.pid
                os.kill(killed, signal.SIGKILL)
                # Its guardian may need a moment to see it; until then there is nothing to start anew.
                wait_until(lambda killed=killed: server.start().pid != killed)  # type: ignore[misc]
            wait_until(lambda: desk.are_final(ids), 20, "the end of every job")
            wait_until(desk.is_clean)
            codes = _leave(fleet)

        records = [desk.record(job) for job in ids]
        assert codes == [0, 0]
        assert [desk.result(job) for job in ids] == [digest(payload) for payload in payloads]
        assert all(record["entry"] == b"" for record in records)


def test_a_server_that_keeps_nothing_costs_its_jobs_and_nobody_has_to_be_restarted(tmp_path: Path) -> None:
    """Without persistence a restart loses all that was accepted: that is said, and work goes on."""
    nothing = ("--appendonly", "no", "--save", "")
    with EmbeddedServer(tmp_path / "data", extra_args=nothing) as server, desk_at(server.url, QUEUE) as desk:
        with Fleet(desk, tmp_path, "digests", max_batch_size=4, max_wait_ms=1) as fleet:
            for _ in range(2):
                fleet.start().ready()
            lost = desk.submit(*({"n": number, "ms": 200} for number in range(20)))
            wait_until(lambda: desk.status().running > 0)
            killed = server.pid
            os.kill(killed, signal.SIGKILL)
            wait_until(lambda: server.start().pid != killed)

            more = desk.submit(*({"n": number, "ms": 1} for number in range(20)))
            wait_until(lambda: desk.are_final(more), 60, "the jobs of after the restart")
            wait_until(desk.is_clean, 60)
            wait_until(lambda: len(desk.workers()) == 2, 60, "both workers' return")
            codes = _leave(fleet)

        assert codes == [0, 0]
        assert [desk.result(job) for job in more] == [digest({"n": n, "ms": 1}) for n in range(20)]
        assert not any(desk.redis.exists(desk.keys.job(job)) for job in lost)


def _final(client: redis.Redis, prefix: str, ids: list[str]) -> int:
    with client.pipeline(transaction=False) as pipeline:
        for local in ids:
            pipeline.hget(f"{prefix}job:{local}", "state")
        return sum(state == b"succeeded" for state in pipeline.execute())


def _leave(fleet: Fleet) -> list[int]:
    for member in fleet.living:
        member.send(signal.SIGTERM)
    return [member.exit_code() for member in fleet.members]
