"""A stand-in for the worker, made of the protocol's scripts alone, and the proof that it works.

The producer's tests use it, so that they say nothing about the worker package and never wait for it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from itertools import count

from microbatch.common import scripts
from microbatch.common.codec import encode_error
from microbatch.common.connection import Connection, Endpoint
from microbatch.common.jobs.entry import Entry
from microbatch.common.keys import QueueKeys
from microbatch.common.stopping import stop
from microbatch.producer import AsyncClient

__all__ = ["StandIn", "bad", "echo", "stand_in", "working"]

WORKER = "host:1:standin"
LOOK_EVERY_S = 0.002

Answer = Callable[[Entry], tuple[bool, bytes]]


def echo(entry: Entry) -> tuple[bool, bytes]:
    """The payload is the result."""
    return True, entry.payload


def bad(_: Entry) -> tuple[bool, bytes]:
    """Every job fails."""
    return False, encode_error("ValueError", "bad", "Traceback ...")


class StandIn:
    """Claims and settles the jobs of one queue."""

    def __init__(self, url: str, queue: str) -> None:
        self.keys = QueueKeys(queue)
        self.connection = Connection(Endpoint(url, 5.0, "stand-in"))
        self._batches = (f"batch{number}" for number in count())
        self._names: dict[int, str] = {}

    async def claim(self, jobs: int = 1) -> list[scripts.Claimed]:
        """Claim until so many jobs are held."""
        held: list[scripts.Claimed] = []
        while sum(len(batch.entries) for batch in held) < jobs:
            reply = await self.claim_once(jobs)
            if reply is None:
                await asyncio.sleep(LOOK_EVERY_S)
            else:
                held.append(reply)
        return held

    async def claim_once(self, most: int) -> scripts.Claimed | None:
        """Claim what waits; None: nothing."""
        name = next(self._batches)
        call = scripts.claim(
            self.keys,
            WORKER,
            name,
            max_batch_size=most,
            max_wait_ms=0,
            max_batch_bytes=1 << 24,
        )
        reply = await self.connection.run(call)
        if not isinstance(reply, scripts.Claimed):
            return None
        self._names[id(reply)] = name
        return reply

    async def settle(
        self, batches: Sequence[scripts.Claimed], answer: Answer = echo, *, ttl_ms: int = 60_000
    ) -> None:
        """Settle claimed jobs."""
        for batch in batches:
            name = self._names.pop(id(batch))
            facts = scripts.BatchFacts(WORKER, name, batch.reason, len(batch.entries), batch.claimed_ms)
            outcomes = []
            for entry in batch.entries:
                succeeded, value = answer(entry)
                outcomes.append(scripts.Outcome(entry, "succeeded" if succeeded else "failed", value))
            await self.connection.run(
                scripts.settle(self.keys, facts, outcomes, ttl_ms=ttl_ms, dead_max_length=9)
            )

    async def work(self, answer: Answer = echo) -> None:
        """Claim and settle for ever."""
        while True:
            batch = await self.claim_once(100)
            if batch is None:
                await asyncio.sleep(LOOK_EVERY_S)
            else:
                await self.settle([batch], answer)


@contextlib.asynccontextmanager
async def stand_in(url: str, queue: str = "q") -> AsyncIterator[StandIn]:
    """A stand-in that does what it is told."""
    worker = StandIn(url, queue)
    try:
        yield worker
    finally:
        await worker.connection.close()


@contextlib.asynccontextmanager
async def working(url: str, queue: str = "q", answer: Answer = echo) -> AsyncIterator[StandIn]:
    """A stand-in that works by itself."""
    async with stand_in(url, queue) as worker:
        task = asyncio.create_task(worker.work(answer))
        try:
            yield worker
        finally:
            await stop(task)


async def test_the_stand_in_settles_what_is_submitted(redis_url: str, key_leak: None) -> None:
    async with working(redis_url), AsyncClient(redis_url) as client:
        assert await client.call("q", "hello", timeout_s=30) == "hello"
