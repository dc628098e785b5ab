"""The other side of a mixed fleet, run by the interpreter of another release: it knows the public API alone.

usage: peer.py produce URL   submits jobs, awaits them, prints what came
       peer.py submit URL    submits jobs, prints their ids, leaves
       peer.py work URL      works until its input ends
       peer.py hold URL      says that it has a batch, and never ends it
"""

from __future__ import annotations

import asyncio
import json
import sys
import uuid
from typing import Any

from microbatch.producer import AsyncClient, JobCancelled, JobFailed
from microbatch.worker import Batch, Retry, Worker, WorkerSettings, batch_processor

QUEUE = "mixed"
HEARTBEAT_LIMIT_S = 2.0
PAYLOADS: list[Any] = [1, "text", {"n": [1, 2.5, None, True]}, "fail", "x" * 100_000]


@batch_processor(queue=QUEUE, max_batch_size=8, max_wait_ms=5)
async def echo(batch: Batch[Any]) -> list[Any]:
    """Each payload with its headers; fails what asks for it, and once what asks for another run."""
    return [outcome_of(job) for job in batch]


def outcome_of(job: Any) -> Any:
    if job.payload == "fail":
        return ValueError("as asked")
    if job.payload == "again" and job.attempt == 1:
        return Retry(delay_s=0.1)
    return [job.payload, dict(job.headers)]


@batch_processor(queue=QUEUE, max_batch_size=8, max_wait_ms=5)
async def hold(batch: Batch[Any]) -> list[Any]:
    """Nothing, for ever."""
    print("held", flush=True)
    await asyncio.Event().wait()
    return [None] * len(batch)


async def submit(url: str, *, wait: bool) -> None:
    async with AsyncClient(url) as client:
        jobs = [await client.submit(QUEUE, payload, headers={"h": "1"}) for payload in PAYLOADS]
        jobs += await client.submit_many(QUEUE, PAYLOADS)
        jobs += await submitted_with_options(client)
        if not wait:
            print(json.dumps([job.id for job in jobs]))
            return
        print(json.dumps([await outcome(job) for job in jobs]))


async def submitted_with_options(client: Any) -> list[Any]:
    """Jobs that travel by other ways: parked, in side lanes, with a deadline, run twice, unique, ended."""
    unique = f"key-{uuid.uuid4()}"
    jobs = [
        await client.submit(QUEUE, "late", delay_s=0.2, max_attempts=2, result_ttl_s=60),
        await client.submit(QUEUE, "soon", priority=5, expires_in_s=60),
        await client.submit(QUEUE, "apart", batch_key="tenant", headers={"h": "2"}),
        await client.submit(QUEUE, "again", max_attempts=3),
        await client.submit(QUEUE, "once", unique_key=unique, unique_for_s=60),
        await client.submit(QUEUE, "once", unique_key=unique, unique_for_s=60),
        await client.submit(QUEUE, "never", delay_s=60),
    ]
    await jobs[-1].cancel()
    return jobs


async def outcome(job: Any) -> Any:
    try:
        return await job.result(timeout_s=30)
    except JobFailed as error:
        return {"failed": [error.error_type, error.error_message]}
    except JobCancelled:
        return "cancelled"


async def work(url: str, processor: Any) -> None:
    settings = WorkerSettings(redis_url=url, heartbeat_limit_s=HEARTBEAT_LIMIT_S)
    async with Worker([processor], settings=settings):
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    role, address = sys.argv[1:]
    if role in ("work", "hold"):
        asyncio.run(work(address, echo if role == "work" else hold))
    else:
        asyncio.run(submit(address, wait=role == "produce"))
