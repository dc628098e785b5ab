"""Kinds: two functions over one queue, with payloads that are checked, and answers that are models.

Run it: `python examples/kinds.py` (it starts a server of its own).
"""

from __future__ import annotations

import asyncio

from pydantic import BaseModel

from microbatch.producer import AsyncClient, JobFailed
from microbatch.worker import Worker, WorkerSettings, batch_processor

URL = "embedded://"


class Pair(BaseModel):
    """What both functions work on."""

    a: int
    b: int = 1


class Total(BaseModel):
    """What the sum answers."""

    value: int


@batch_processor(queue="math", kind="sum", max_wait_ms=5)
async def add(pairs: list[Pair]) -> list[Total]:
    """Add the numbers of each pair."""
    return [Total(value=pair.a + pair.b) for pair in pairs]


@batch_processor(queue="math", kind="product")
async def multiply(pairs: list[Pair]) -> list[int]:
    """Multiply the numbers of each pair."""
    return [pair.a * pair.b for pair in pairs]


async def main() -> None:
    """Ask both functions, once with a payload that does not fit."""
    async with Worker([add, multiply], settings=WorkerSettings(redis_url=URL)), AsyncClient(URL) as client:
        print(await client.call("math", {"a": 2, "b": 3}, kind="sum", timeout_s=10))
        print(await client.call("math", Pair(a=2, b=3), kind="product", timeout_s=10))
        try:
            await client.call("math", {"a": "two"}, kind="sum", timeout_s=10)
        except JobFailed as failed:
            print(f"{failed.error_type}: {failed.error_message}")


if __name__ == "__main__":
    asyncio.run(main())
