"""Unique keys: a hundred callers ask for the same expensive answer, one of them causes work, and all get it.

Run it: `python examples/single_flight.py` (it starts a server of its own).
"""

from __future__ import annotations

import asyncio

from microbatch.producer import AsyncClient
from microbatch.worker import Worker, WorkerSettings, batch_processor

URL = "embedded://"
computed: list[str] = []


@batch_processor(queue="forecast", max_wait_ms=5)
async def forecast(cities: list[str]) -> list[str]:
    """Compute what is too expensive to be computed twice."""
    computed.extend(cities)
    await asyncio.sleep(0.2)  # stands for the computation
    return [f"sunny in {city}" for city in cities]


async def main() -> None:
    """Ask from two clients, which might as well be on two hosts."""
    settings = WorkerSettings(redis_url=URL)
    async with Worker([forecast], settings=settings), AsyncClient(URL) as one, AsyncClient(URL) as two:
        calls = [
            client.call("forecast", city, unique_key=f"forecast:{city}", unique_for_s=60, timeout_s=10)
            for client in (one, two)
            for city in ("Oslo", "Rome")
            for _ in range(25)
        ]
        answers = await asyncio.gather(*calls)
    print(f"{len(answers)} answers, {len(computed)} computed: {sorted(set(answers))}")


if __name__ == "__main__":
    asyncio.run(main())
