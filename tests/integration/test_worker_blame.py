"""Who is to blame: batches that raise, hang or cannot be stopped cost their innocent jobs nothing."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest
from tests.chaos.kit import Desk, desk_at, quick, until

from microbatch.worker import Batch, BatchProcessor, BatchTimeout, Retry, Worker

if TYPE_CHECKING:
    from collections.abc import Iterator

BAD = "bad"
HANGS = "hangs"


@pytest.fixture
def desk(redis_url: str) -> Iterator[Desk]:
    with desk_at(redis_url) as made:
        yield made


class Picky(BatchProcessor[Any, Any]):
    """Raises for a batch with a bad job in it; remembers its batches and their attempts."""

    queue = "work"

    def __init__(self, error: type[Exception] = ValueError, **declared: Any) -> None:
        for name, value in declared.items():
            setattr(self, name, value)
        self.error = error
        self.batches: list[Batch[Any]] = []
        self.attempts: dict[str, int] = {}

    def process(self, batch: Batch[Any]) -> list[Any]:
        self.batches.append(batch)
        self.attempts |= {job.id: job.attempt for job in batch}
        if BAD in batch.payloads:
            raise self.error("no")
        return batch.payloads


class Hanging(BatchProcessor[Any, Any]):
    """Hangs on the loop for a batch with a job that hangs, and lets itself be cancelled."""

    queue = "work"
    batch_timeout_s = 0.1

    async def process(self, batch: Batch[Any]) -> list[Any]:
        if HANGS in batch.payloads:
            await asyncio.Event().wait()
        return batch.payloads


class Stubborn(BatchProcessor[Any, Any]):
    """Hangs in its thread until it is let go, for a batch with a job that hangs."""

    queue = "work"
    batch_timeout_s = 0.1

    def __init__(self) -> None:
        self.go = threading.Event()
        self.torn_down = False

    def process(self, batch: Batch[Any]) -> list[Any]:
        if HANGS in batch.payloads:
            self.go.wait(30)
        return batch.payloads

    def teardown(self) -> None:
        self.torn_down = True


def types(desk: Desk, jobs: list[str]) -> list[str]:
    return ["ok" if desk.state(job) == "succeeded" else desk.error(job)["type"] for job in jobs]


async def ran(desk: Desk, processor: object, *payloads: Any) -> list[str]:
    """How these jobs, submitted together, ended."""
    jobs = desk.submit(*payloads)
    async with Worker([processor], settings=quick(desk.url, max_wait_ms=0, max_batch_size=64)):
        await until(lambda: desk.are_final(jobs))
    assert desk.is_clean()
    return types(desk, jobs)


# --- raising --------------------------------------------------------------------------------


async def test_only_the_culprits_of_a_batch_fail_and_no_half_costs_an_attempt(desk: Desk) -> None:
    picky = Picky()
    payloads = [BAD if index in {5, 40} else index for index in range(64)]

    ended = await ran(desk, picky, *payloads)

    assert ended == ["ValueError" if payload == BAD else "ok" for payload in payloads]
    assert set(picky.attempts.values()) == {1}
    assert len(picky.batches) <= 1 + 2 * 2 * 6
    assert len({batch.id for batch in picky.batches}) == 1


async def test_with_fail_the_whole_batch_fails_at_once(desk: Desk) -> None:
    picky = Picky(on_batch_error="fail")

    assert await ran(desk, picky, 1, BAD, 3) == ["ValueError"] * 3
    assert len(picky.batches) == 1


async def test_with_retry_the_whole_batch_runs_again_and_then_fails(desk: Desk) -> None:
    picky = Picky(on_batch_error="retry", max_attempts=2, retry_backoff_s=0)

    assert (await ran(desk, picky, 1, BAD))[1] == "ValueError"
    assert set(picky.attempts.values()) == {2}


async def test_an_error_to_give_up_on_is_not_retried_with_retry_either(desk: Desk) -> None:
    picky = Picky(KeyError, on_batch_error="retry", give_up_on=LookupError)

    assert await ran(desk, picky, 1, BAD) == ["KeyError"] * 2
    assert len(picky.batches) == 1


async def test_a_raised_retry_is_for_the_whole_batch_and_is_not_halved(desk: Desk) -> None:
    picky = Picky(Retry, max_attempts=1)

    assert await ran(desk, picky, 1, BAD, 3) == ["Retry"] * 3
    assert len(picky.batches) == 1


async def test_a_culprit_with_attempts_left_runs_again_and_its_mates_do_not(desk: Desk) -> None:
    picky = Picky(max_attempts=2, retry_backoff_s=0)

    assert await ran(desk, picky, 1, BAD, 3) == ["ok", "ValueError", "ok"]
    assert sorted(picky.attempts.values()) == [1, 1, 2]


# --- hanging --------------------------------------------------------------------------------


async def test_of_a_batch_that_hangs_only_the_job_that_hangs_alone_fails(desk: Desk) -> None:
    assert await ran(desk, Hanging(), 1, HANGS, 3) == ["ok", "BatchTimeout", "ok"]


async def test_a_time_out_of_the_processor_s_own_is_an_error_like_any_other(desk: Desk) -> None:
    assert await ran(desk, Picky(TimeoutError, batch_timeout_s=30), 1, BAD) == ["ok", "TimeoutError"]


async def test_a_thread_that_hangs_stops_the_worker_which_says_so_and_never_settles_late(desk: Desk) -> None:
    stubborn = Stubborn()
    (first,) = desk.submit(HANGS)
    later: list[str] = []

    async def work() -> None:
        async with Worker([stubborn], settings=quick(desk.url, max_wait_ms=0)) as worker:
            await until(lambda: desk.are_final([first]))
            later.extend(desk.submit("later"))
            worker.resume()

    with pytest.raises(BatchTimeout, match=r"took longer than 0\.1 s and cannot be stopped"):
        await work()
    stubborn.go.set()

    assert types(desk, [first]) == ["BatchTimeout"]
    assert desk.state(later[0]) == "queued"
    assert not stubborn.torn_down


async def test_an_error_of_the_body_is_not_hidden_by_a_batch_that_hangs(desk: Desk) -> None:
    stubborn = Stubborn()
    (job,) = desk.submit(HANGS)

    async def work() -> None:
        async with Worker([stubborn], settings=quick(desk.url, max_wait_ms=0)):
            await until(lambda: desk.are_final([job]))
            raise LookupError

    with pytest.raises(LookupError):
        await work()
    stubborn.go.set()
