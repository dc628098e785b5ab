"""Adaptive batching by real workers: nothing is lost, a lone job does not wait, callers ride together."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from tests.chaos.kit import Desk, desk_at, until

from microbatch.producer import AsyncClient
from microbatch.worker import Worker, WorkerSettings, batch_processor

if TYPE_CHECKING:
    from collections.abc import Iterator

import pytest

LONG_WAIT_MS = 60_000.0
ROUNDS, CALLERS = 40, 24


@pytest.fixture
def desk(redis_url: str) -> Iterator[Desk]:
    with desk_at(redis_url) as made:
        yield made


async def test_a_lone_job_leaves_at_once_however_long_the_longest_wait_is(desk: Desk) -> None:
    @batch_processor(queue="work", max_wait_ms=LONG_WAIT_MS, batching="adaptive")
    async def echo(items: list[int]) -> list[int]:
        return items

    async with Worker([echo], settings=WorkerSettings(redis_url=desk.url)), AsyncClient(desk.url) as client:
        for number in range(12):  # the pace is known after a few
            assert await client.call("work", number, timeout_s=30) == number


@pytest.mark.parametrize("concurrency", [1, 3])
async def test_callers_in_a_closed_loop_all_get_their_results(desk: Desk, concurrency: int) -> None:
    sizes: list[int] = []

    @batch_processor(queue="work", max_batch_size=100, batching="adaptive", concurrency=concurrency)
    def device(items: list[int]) -> list[int]:
        sizes.append(len(items))
        time.sleep(0.003)  # what a call costs
        return [item + 1 for item in items]

    async def caller(client: AsyncClient, first: int) -> None:
        for number in range(first, first + ROUNDS):
            assert await client.call("work", number, timeout_s=30) == number + 1

    async with Worker([device], settings=WorkerSettings(redis_url=desk.url)), AsyncClient(desk.url) as client:
        await asyncio.gather(*(caller(client, 1_000 * each) for each in range(CALLERS)))
        await until(desk.is_clean)

    assert sum(sizes) == ROUNDS * CALLERS


async def test_what_a_fleet_learnt_is_in_redis_for_the_next_worker(desk: Desk) -> None:
    @batch_processor(queue="work", batching="adaptive")
    async def echo(items: list[int]) -> list[int]:
        return items

    async with Worker([echo], settings=WorkerSettings(redis_url=desk.url)), AsyncClient(desk.url) as client:
        await client.map("work", range(200), timeout_s=30)
        await until(lambda: desk.redis.exists(desk.keys.pace) == 1)
