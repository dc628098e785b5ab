"""Budgets: a batch has so many bytes and so much cost at most, and what is larger rides alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.conformance.bench import LONG_MS, Bench, job

from microbatch.common.codec import encode
from microbatch.common.scripts import BatchTerms, Claimed

if TYPE_CHECKING:
    from collections.abc import Sequence


async def batches(bench: Bench, terms: BatchTerms, size: int = 32) -> list[tuple[list[str], str]]:
    """Claim and settle until nothing is left: the jobs of each batch, and why it was closed."""
    found: list[tuple[list[str], str]] = []
    while isinstance(reply := await bench.claim(f"b{len(found)}", size=size, terms=terms), Claimed):
        await bench.settle(f"b{len(found)}", reply.entries)
        found.append(([entry.local for entry in reply.entries], reply.reason))
    return found


@pytest.mark.parametrize("key", ["", "k"])
@pytest.mark.parametrize(
    ("costs", "expected"),
    [
        ((3, 3, 3, 3), [["j0", "j1", "j2"], ["j3"]]),
        ((50, 1, 1), [["j0"], ["j1", "j2"]]),
        ((1, 50, 1), [["j0"], ["j1"], ["j2"]]),
        ((10, 1), [["j0"], ["j1"]]),
        ((0, 0, 10, 0), [["j0", "j1", "j2", "j3"]]),
        ((5, 5), [["j0", "j1"]]),
    ],
)
async def test_a_batch_has_no_more_cost_than_its_budget_and_a_larger_job_rides_alone(
    bench: Bench, costs: Sequence[int], expected: list[list[str]], key: str
) -> None:
    await bench.submit(*(job(f"j{n}", cost=cost, batch_key=key) for n, cost in enumerate(costs)))
    assert [locals_ for locals_, _ in await batches(bench, BatchTerms(max_cost=10))] == expected


async def test_a_job_without_a_cost_counts_one(bench: Bench) -> None:
    await bench.submit("a", "b", job("c", cost=1), "d")
    found = await batches(bench, BatchTerms(max_cost=3))
    assert found == [(["a", "b", "c"], "budget"), (["d"], "wait")]


async def test_a_batch_has_no_more_payload_bytes_than_its_budget(bench: Bench) -> None:
    payload = "x" * 100
    size = len(encode(payload))
    await bench.submit(*(job(f"j{n}", payload) for n in range(5)), job("big", "y" * 1000), job("last", 1))
    found = await batches(bench, BatchTerms(max_bytes=2 * size))
    assert [locals_ for locals_, _ in found] == [["j0", "j1"], ["j2", "j3"], ["j4"], ["big"], ["last"]]


async def test_the_size_still_holds(bench: Bench) -> None:
    await bench.submit(*(f"j{n}" for n in range(5)))
    found = await batches(bench, BatchTerms(max_cost=100), size=3)
    assert found == [(["j0", "j1", "j2"], "size"), (["j3", "j4"], "wait")]


async def test_what_fills_up_counts_too(bench: Bench) -> None:
    await bench.submit(job("top", priority=5, cost=4), job("main", cost=4), job("low", priority=-5, cost=1))
    found = await batches(bench, BatchTerms(max_cost=8))
    assert [locals_ for locals_, _ in found] == [["top", "main"], ["low"]]


async def test_what_was_handed_back_has_the_same_budget(bench: Bench) -> None:
    await bench.submit(*(job(f"j{n}", cost=4) for n in range(3)))
    await bench.take("b1")
    await bench.release("b1")
    found = await batches(bench, BatchTerms(max_cost=8))
    assert found == [(["j0", "j1"], "recovery"), (["j2"], "recovery")]


async def test_cancelled_jobs_take_no_room(bench: Bench) -> None:
    await bench.submit(*(job(f"j{n}", cost=9) for n in range(3)), job("a", cost=5), job("b", cost=5))
    for n in range(3):
        await bench.cancel(f"j{n}")
    found = await batches(bench, BatchTerms(max_cost=10))
    assert [locals_ for locals_, _ in found] == [["a", "b"]]


async def test_a_job_keeps_its_cost_when_it_moves(bench: Bench) -> None:
    await bench.submit(job("a", cost=7))
    await bench.retry("b1", await bench.take("b1"))
    (entry,) = await bench.take("b2")
    assert entry.cost == 7


async def test_a_budget_makes_nothing_due(bench: Bench) -> None:
    await bench.submit(job("a", cost=50), job("b", cost=50))
    assert not isinstance(await bench.claim("b1", wait_ms=LONG_MS, terms=BatchTerms(max_cost=10)), Claimed)
