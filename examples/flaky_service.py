"""A processor that calls a flaky service: what failed is tried again, alone; what cannot succeed is given up.

Run it: `python examples/flaky_service.py` (it starts a server of its own).
"""

from __future__ import annotations

import asyncio

from microbatch.producer import AsyncClient, JobFailed
from microbatch.worker import Batch, Retry, Worker, WorkerSettings, batch_processor

URL = "embedded://"


@batch_processor(queue="geocode", max_wait_ms=5, max_attempts=4, retry_backoff_s=0.05)
async def geocode(batch: Batch[str]) -> list[str | Exception]:
    """Answer for each job: a result, an error that is final or retried, or a wish to be asked again."""
    answers: list[str | Exception] = []
    for job in batch:
        if job.payload == "":
            answers.append(ValueError("an address must not be empty"))  # it fails in every run
        elif job.attempt == 1:
            answers.append(Retry("the service is throttling us", delay_s=0.1))
        else:
            answers.append(f"{job.payload} is at 52.5 N 13.4 E, found in run {job.attempt}")
    return answers


async def main() -> None:
    """Ask for three addresses, one of them hopeless."""
    async with Worker([geocode], settings=WorkerSettings(redis_url=URL)), AsyncClient(URL) as client:
        jobs = await client.submit_many("geocode", ["Unter den Linden 1", "", "Alexanderplatz 2"])
        for job in jobs:
            try:
                print(await job.result(timeout_s=10))
            except JobFailed as failed:
                print(f"given up after {(await job.status()).attempt} runs: {failed.error_message}")


if __name__ == "__main__":
    asyncio.run(main())
