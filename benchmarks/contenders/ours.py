"""microbatch itself, by its public API alone.

Rule: as a user would write it. Without a cost the processor is `async def`; with one it is a plain function,
as everything that blocks should be. It never reaches below the public API.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from benchmarks.contenders.contract import TIMEOUT_S, Contender
from benchmarks.contenders.tasks import TaskProducer, run_on_loop
from benchmarks.workload import Answer, Payload, process, process_at_a_cost
from microbatch.producer import AsyncClient
from microbatch.worker import Worker, WorkerSettings, batch_processor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.cell import Site

__all__ = ["CONTENDER"]

QUEUE = "bench"


def work(site: Site, ready: Callable[[], None]) -> None:
    """Run the cell's workers in this process."""
    cell = site.cell
    declare = batch_processor(
        queue=QUEUE,
        max_batch_size=cell.max_batch_size,
        max_wait_ms=cell.max_wait_ms,
        concurrency=cell.concurrency,
        batching=cell.batching,
    )

    async def costs_nothing(payloads: list[Payload]) -> list[Answer]:
        return process(payloads)

    def costs_time(payloads: list[Payload]) -> list[Answer]:
        return process_at_a_cost(payloads)

    async def run() -> None:
        settings = WorkerSettings(redis_url=site.url)
        processor = declare(costs_time if cell.costs else costs_nothing)
        async with AsyncExitStack() as stack:
            for _ in range(cell.workers):
                await stack.enter_async_context(Worker([processor], settings=settings))
            ready()
            await asyncio.Event().wait()

    run_on_loop(run())


class OurProducer(TaskProducer):
    """An `AsyncClient`."""

    def __init__(self, site: Site) -> None:
        super().__init__()
        self._url = site.url

    async def open(self) -> None:
        """See `TaskProducer`."""
        self._client = AsyncClient(self._url)
        await self._client.__aenter__()

    async def close(self) -> None:
        """See `TaskProducer`."""
        await self._client.__aexit__(None, None, None)

    async def submit(self, item: Payload) -> None:
        """See `TaskProducer`."""
        await self._client.submit(QUEUE, item)

    async def submit_many(self, items: Sequence[Payload]) -> None:
        """See `TaskProducer`."""
        await self._client.submit_many(QUEUE, items)

    async def call(self, item: Payload) -> Any:
        """See `TaskProducer`."""
        return await self._client.call(QUEUE, item, timeout_s=TIMEOUT_S)

    async def map(self, items: Sequence[Payload]) -> Sequence[Answer]:
        """See `TaskProducer`."""
        return await self._client.map(QUEUE, items, timeout_s=2 * TIMEOUT_S)

    async def count_waiting(self) -> int:
        """See `TaskProducer`."""
        return (await self._client.queue_status(QUEUE)).waiting


CONTENDER = Contender(work, OurProducer)
