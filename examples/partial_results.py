"""Results as they are ready: short jobs of a batch do not wait for long ones, which tell how far they are.

Run it: python examples/partial_results.py
"""

import asyncio
from collections.abc import AsyncIterator

from microbatch.producer import AsyncClient
from microbatch.worker import Batch, Job, Worker, WorkerSettings, batch_processor


@batch_processor(queue="countdown", max_batch_size=8, max_wait_ms=50)
async def countdown(batch: Batch[int]) -> AsyncIterator[tuple[Job[int], str]]:
    """All jobs of the batch go on together, step by step; each is yielded when it is done."""
    left = {job: job.payload for job in batch}
    while left:
        await asyncio.sleep(0.1)  # stands for a step of the work
        for job in list(left):
            left[job] -= 1
            job.progress(1 - left[job] / job.payload, f"{left[job]} steps left")
            if left[job] == 0:
                del left[job]
                job.log.info("done, while %d others go on", len(left))
                yield job, f"done after {job.payload} steps"


async def main() -> None:
    """Submit three jobs at once, and follow the longest to its end."""
    url = "embedded://"
    async with AsyncClient(url) as client, Worker([countdown], settings=WorkerSettings(redis_url=url)):
        jobs = await client.submit_many("countdown", [8, 1, 3])
        async for job in client.as_completed(jobs[1:], timeout_s=10):
            print(await job.result(), "|", (await jobs[0].status()).state)
        async for update in jobs[0].subscribe():
            print(update.event, update.progress.text if update.progress else "")
        print(await jobs[0].result(), "|", (await jobs[0].logs())[0].text)


if __name__ == "__main__":
    asyncio.run(main())
