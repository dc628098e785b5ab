"""Settling: in bounded chunks, repeated until Redis has answered, and late results dropped, never forced."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.chaos.kit import make_entry

from microbatch.common.errors import AuthenticationFailed, ConnectionFailed, ServerFull
from microbatch.common.keys import QueueKeys
from microbatch.common.scripts import BatchFacts, Outcome, Released, SettleCode
from microbatch.common.settings import WorkerSettings
from microbatch.worker import settler as settler_module
from microbatch.worker.settler import CHUNK_BYTES, CHUNK_JOBS, Settler, _chunks

FACTS = BatchFacts("me", "b1", "size", 2, 1)


class ScriptedRedis:
    """Answers from a list; remembers the calls."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.calls: list[Any] = []

    async def run(self, call: Any) -> Any:
        self.calls.append(call)
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer


def settler_with(*answers: Any) -> tuple[Settler, ScriptedRedis]:
    redis = ScriptedRedis(*answers)
    return Settler(redis, QueueKeys("q"), WorkerSettings(), 1000, lambda outcomes, _: outcomes), redis  # type: ignore[arg-type] # a fake


def outcomes_of(sizes: list[int]) -> list[Outcome]:
    entry = make_entry("a")
    return [Outcome(entry, "succeeded", bytes(size)) for size in sizes]


@given(st.lists(st.sampled_from([0, 10, 5_000, CHUNK_BYTES // 3, CHUNK_BYTES, 2 * CHUNK_BYTES]), max_size=30))
def test_chunks_are_bounded_in_bytes_keep_the_order_and_lose_nothing(sizes: list[int]) -> None:
    given_outcomes = outcomes_of(sizes)

    chunks = [list(chunk) for chunk in _chunks(given_outcomes)]

    assert [outcome for chunk in chunks for outcome in chunk] == given_outcomes
    assert len(chunks) >= 1  # the batch must be closed
    for chunk in chunks:
        assert len(chunk) == 1 or sum(len(outcome.value) for outcome in chunk) <= CHUNK_BYTES


@pytest.mark.parametrize(("jobs", "calls"), [(0, 1), (1, 1), (256, 1), (257, 2), (1000, 4)])
def test_a_call_settles_at_most_256_jobs(jobs: int, calls: int) -> None:
    chunks = list(_chunks(outcomes_of([1] * jobs)))

    assert len(chunks) == calls
    assert all(len(chunk) <= CHUNK_JOBS for chunk in chunks)


async def test_only_the_last_call_closes_the_batch() -> None:
    settler, redis = settler_with(None, None, None)

    await settler.settle(FACTS, outcomes_of([1] * 600), close=True)

    assert [call.args[6] for call in redis.calls] == [0, 0, 1]


async def test_a_batch_that_stays_open_is_closed_by_no_call() -> None:
    settler, redis = settler_with(None, None)

    await settler.settle(FACTS, outcomes_of([1] * 300), close=False)

    assert [call.args[6] for call in redis.calls] == [0, 0]


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    taken: list[float] = []

    async def sleep(seconds: float) -> None:
        taken.append(seconds)
        await asyncio.sleep(0)

    monkeypatch.setattr(settler_module, "asyncio", SimpleNamespace(sleep=sleep))
    return taken


async def test_an_outcome_is_repeated_until_redis_has_answered(pauses: list[float]) -> None:
    errors = [ConnectionFailed("gone")] * 3 + [ServerFull("OOM")]
    settler, redis = settler_with(*errors, [SettleCode.REPLAY])

    await settler.settle(FACTS, outcomes_of([1]), close=True)

    assert len(redis.calls) == len(pauses) + 1 == 5
    assert settler.dropped == 0


@pytest.mark.parametrize("error", [AuthenticationFailed("NOPERM"), ServerFull("OOM")])
async def test_a_refused_outcome_is_kept_without_spinning(pauses: list[float], error: Exception) -> None:
    settler, _ = settler_with(*[error] * 5, None)

    await settler.settle(FACTS, outcomes_of([1]), close=True)

    assert min(pauses) >= 0.5


async def test_late_results_are_counted_and_dropped(caplog: pytest.LogCaptureFixture) -> None:
    settler, _ = settler_with([SettleCode.MOVED, SettleCode.WRITTEN, SettleCode.FINAL, SettleCode.WRONG_TYPE])

    await settler.settle(FACTS, outcomes_of([1] * 4), close=True)

    assert settler.dropped == 2
    assert "it moved to another worker" in caplog.text
    assert "it is final" in caplog.text
    assert "not a hash" in caplog.text


async def test_handing_back_goes_on_until_nothing_is_left() -> None:
    settler, redis = settler_with(Released(256, 300), Released(256, 44), Released(44, 0))

    assert await settler.hand_back("me", "b1", ran=True) == 556
    assert len(redis.calls) == 3
