"""Quickstart: a processor, a worker and a client in one process, on an embedded server.

Run it:            python examples/quickstart.py
Or in three parts: microbatch server --port 6379
                   cd examples && microbatch worker quickstart:shout
                   microbatch submit shout '"hello"' --wait
"""

import asyncio

from microbatch.producer import AsyncClient
from microbatch.worker import Worker, WorkerSettings, batch_processor


@batch_processor(queue="shout", max_batch_size=64, max_wait_ms=5)
async def shout(texts: list[str]) -> list[str]:
    """Called once per batch: pay here what is dear per call and cheap per item."""
    print(f"one call for {len(texts)} texts")
    return [text.upper() for text in texts]


async def main() -> None:
    """Start a worker, let 100 callers each submit one text, and await each its own result."""
    url = "embedded://"
    async with Worker([shout], settings=WorkerSettings(redis_url=url)), AsyncClient(url) as client:
        answers = await asyncio.gather(
            *(client.call("shout", f"hello {n}", timeout_s=10) for n in range(100))
        )
    print(answers[0], "...", answers[-1])


if __name__ == "__main__":
    asyncio.run(main())
