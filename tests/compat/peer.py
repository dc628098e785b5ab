"""The other side of a mixed fleet, run by the interpreter of another release: it knows the public API alone.

usage: peer.py produce URL   submits jobs, awaits them, prints what came
       peer.py submit URL    submits jobs, prints their ids, leaves
       peer.py work URL      works until its input ends
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from microbatch.producer import AsyncClient, JobFailed
from microbatch.worker import Batch, Worker, WorkerSettings, batch_processor

QUEUE = "mixed"
PAYLOADS: list[Any] = [1, "text", {"n": [1, 2.5, None, True]}, "fail", "x" * 100_000]


@batch_processor(queue=QUEUE, max_batch_size=8, max_wait_ms=5)
async def echo(batch: Batch[Any]) -> list[Any]:
    """Each payload with its headers; fails what asks for it."""
    return [
        ValueError("as asked") if job.payload == "fail" else [job.payload, dict(job.headers)] for job in batch
    ]


async def submit(url: str, *, wait: bool) -> None:
    async with AsyncClient(url) as client:
        jobs = [await client.submit(QUEUE, payload, headers={"h": "1"}) for payload in PAYLOADS]
        jobs += await client.submit_many(QUEUE, PAYLOADS)
        jobs.append(await client.submit(QUEUE, "late", delay_s=0.2, max_attempts=2, result_ttl_s=60))
        if not wait:
            print(json.dumps([job.id for job in jobs]))
            return
        print(json.dumps([await outcome(job) for job in jobs]))


async def outcome(job: Any) -> Any:
    try:
        return await job.result(timeout_s=30)
    except JobFailed as error:
        return {"failed": [error.error_type, error.error_message]}


async def work(url: str) -> None:
    async with Worker([echo], settings=WorkerSettings(redis_url=url)):
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    role, address = sys.argv[1:]
    asyncio.run(work(address) if role == "work" else submit(address, wait=role == "produce"))
