"""A mixed fleet: producers and workers of another release and of this one do each other's work.

`make compat RELEASE=0.1.0` (or a wheel's path, or any revision of this repository) installs that release
beside this one and names its interpreter in `OTHER_PYTHON`. Without, the other side is this very version:
then the tests prove that they run.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.compat.peer import PAYLOADS, QUEUE, echo, outcome, submitted_with_options

from microbatch.producer import AsyncClient
from microbatch.worker import Worker, WorkerSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

PEER = Path(__file__).with_name("peer.py")
OTHER = os.environ.get("OTHER_PYTHON", sys.executable)
FAILED = {"failed": ["ValueError", "as asked"]}


def answers(headers: dict[str, str]) -> list[Any]:
    return [FAILED if payload == "fail" else [payload, headers] for payload in PAYLOADS]


WITH_OPTIONS = [
    ["late", {}],
    ["soon", {}],
    ["apart", {"h": "2"}],
    ["again", {}],
    ["once", {}],
    ["once", {}],
    "cancelled",
]
EXPECTED = [*answers({"h": "1"}), *answers({}), *WITH_OPTIONS]


def ask(role: str, url: str) -> Any:
    """What the other release says in the end."""
    done = subprocess.run(
        [OTHER, "-E", str(PEER), role, url], capture_output=True, text=True, check=True, timeout=60
    )
    return json.loads(done.stdout)


@contextmanager
def begun(python: str, role: str, url: str) -> Iterator[subprocess.Popen[str]]:
    """A worker by an interpreter, ready; killed at the end."""
    with subprocess.Popen(
        [python, "-E", str(PEER), role, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as worker:
        try:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "ready\n"
            yield worker
        finally:
            worker.kill()


@contextmanager
def worker_of(python: str, url: str) -> Iterator[subprocess.Popen[str]]:
    """A worker that does its work; drained at the end."""
    with begun(python, "work", url) as worker:
        yield worker
        worker.communicate(timeout=30)
        assert worker.returncode == 0


async def test_the_other_release_s_producer_with_this_worker(redis_url: str) -> None:
    async with Worker([echo], settings=WorkerSettings(redis_url=redis_url)):
        assert await asyncio.to_thread(ask, "produce", redis_url) == EXPECTED


async def test_this_producer_with_the_other_release_s_worker(redis_url: str) -> None:
    with worker_of(OTHER, redis_url):
        async with AsyncClient(redis_url) as client:
            jobs = [await client.submit(QUEUE, payload, headers={"h": "1"}) for payload in PAYLOADS]
            jobs += await client.submit_many(QUEUE, PAYLOADS)
            jobs += await submitted_with_options(client)

            assert [await outcome(job) for job in jobs] == EXPECTED
            assert (await jobs[0].status()).attempt == 1


async def test_workers_of_both_releases_share_a_queue_and_either_reads_the_other_s_results(
    redis_url: str,
) -> None:
    waiting = await asyncio.to_thread(ask, "submit", redis_url)
    with worker_of(OTHER, redis_url):
        async with (
            Worker([echo], settings=WorkerSettings(redis_url=redis_url)),
            AsyncClient(redis_url) as client,
        ):
            found = [await outcome(client.job(job_id)) for job_id in waiting]
            more = await client.map(QUEUE, range(200), timeout_s=30)

    assert found == EXPECTED
    assert more == [[number, {}] for number in range(200)]


@pytest.mark.parametrize(
    ("dying", "rescuing"), [(OTHER, sys.executable), (sys.executable, OTHER)], ids=["its", "ours"]
)
async def test_what_a_killed_worker_of_one_release_held_is_done_by_one_of_the_other(
    redis_url: str, dying: str, rescuing: str
) -> None:
    async with AsyncClient(redis_url) as client:
        with begun(dying, "hold", redis_url) as holder:
            jobs = await client.submit_many(QUEUE, range(5))
            assert holder.stdout is not None
            assert await asyncio.to_thread(holder.stdout.readline) == "held\n"
            with worker_of(rescuing, redis_url):
                holder.kill()
                assert [await outcome(job) for job in jobs] == [[number, {}] for number in range(5)]
