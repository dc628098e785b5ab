"""saq: an asynchronous queue with one job per message.

Rule: results are polled (`apply` and `map`): waiting by its pub/sub (`Job.refresh`) can miss a job that ends
between its look and its subscription, and then waits for ever. It never batches, having no such thing.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import saq

from benchmarks.contenders.contract import TIMEOUT_S, Contender
from benchmarks.contenders.tasks import TaskProducer, each_of, run_on_loop
from benchmarks.workload import Answer, Payload, process, process_at_a_cost

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.cell import Site

__all__ = ["CONTENDER"]

CHUNK_JOBS = 500
CHUNKS_AT_ONCE = 4
CONCURRENCY = 32
BULK_POLL_S, CALL_POLL_S = 0.02, 0.005


def _queue(site: Site) -> Any:
    logging.getLogger("saq").setLevel(logging.ERROR)
    return saq.Queue.from_url(site.url, max_concurrent_ops=64)


def work(site: Site, ready: Callable[[], None]) -> None:
    """Be the worker."""
    costs = site.cell.costs

    async def job(_: object, *, item: Payload) -> Answer:
        if costs:
            return (await asyncio.to_thread(process_at_a_cost, [item]))[0]
        return process([item])[0]

    async def run() -> None:
        worker: Any = saq.Worker(_queue(site), [("job", job)], concurrency=CONCURRENCY)
        ready()
        await worker.start()

    run_on_loop(run())


class SaqProducer(TaskProducer):
    """A `saq.Queue`."""

    has_bulk = False

    def __init__(self, site: Site) -> None:
        super().__init__()
        self._site = site

    async def open(self) -> None:
        """See `TaskProducer`."""
        self._queue = _queue(self._site)

    async def close(self) -> None:
        """See `TaskProducer`."""
        await self._queue.disconnect()

    async def submit(self, item: Payload) -> None:
        """See `TaskProducer`."""
        await self._queue.enqueue("job", item=item, timeout=int(TIMEOUT_S))

    async def submit_many(self, items: Sequence[Payload]) -> None:
        """See `TaskProducer`."""
        raise NotImplementedError

    async def call(self, item: Payload) -> Any:
        """See `TaskProducer`."""
        return await self._queue.apply("job", timeout=int(TIMEOUT_S), poll_interval=CALL_POLL_S, item=item)

    async def map(self, items: Sequence[Payload]) -> Sequence[Answer]:
        """See `TaskProducer`."""
        results: dict[int, list[Answer]] = {}

        async def chunk(first: int) -> None:
            these = [{"item": item} for item in items[first : first + CHUNK_JOBS]]
            results[first] = await self._queue.map("job", these, poll_interval=BULK_POLL_S)

        await each_of(chunk, range(0, len(items), CHUNK_JOBS), CHUNKS_AT_ONCE)
        return [answer for first in sorted(results) for answer in results[first]]

    async def count_waiting(self) -> int:
        """See `TaskProducer`."""
        return int(await self._queue.count("queued"))


CONTENDER = Contender(work, SaqProducer)
