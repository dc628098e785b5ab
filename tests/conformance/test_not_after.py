"""submit's not_after: what its caller gave up on is never accepted later, by the server's own clock."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tests.conformance.bench import job

from microbatch.common.scripts import SubmitCode, submit

if TYPE_CHECKING:
    from tests.conformance.bench import Bench

    from microbatch.common.scripts import NewJob

PAST_MS = 1
FUTURE_MS = 4_000_000_000_000


async def _submit(
    bench: Bench, *jobs: NewJob, not_after_ms: int | None = None, limit: int = 100
) -> list[SubmitCode] | None:
    call = submit(bench.keys, "c1", jobs, max_queue_length=limit, not_after_ms=not_after_ms)
    return (await bench.run(call)).codes


async def test_a_whole_call_that_comes_too_late_is_refused(bench: Bench) -> None:
    assert await _submit(bench, job("a"), job("b", ttl_ms="5"), not_after_ms=PAST_MS) == [SubmitCode.LATE] * 2
    assert await bench.raw.keys("*") == []


async def test_a_call_in_time_is_accepted(bench: Bench) -> None:
    assert await _submit(bench, job("a"), not_after_ms=FUTURE_MS) is None
    assert await bench.lengths() == {"main": 1}


async def test_one_late_job_is_refused_alone(bench: Bench) -> None:
    late = replace(job("late"), not_after_ms=PAST_MS)
    early = replace(job("early", headers=b"\x80", ttl_ms="7"), not_after_ms=FUTURE_MS)
    codes = await _submit(bench, job("a"), late, early, job("b"))
    assert codes == [SubmitCode.NEW, SubmitCode.LATE, SubmitCode.NEW, SubmitCode.NEW]
    entries = await bench.take("b1")
    assert [entry.local for entry in entries] == ["a", "early", "b"]
    assert (entries[1].headers, entries[1].ttl_ms) == (b"\x80", "7")
    assert await bench.record("late") == {}


async def test_a_late_delayed_job_is_not_scheduled(bench: Bench) -> None:
    late = replace(job("late", delay_ms=90_000), not_after_ms=PAST_MS)
    assert await _submit(bench, late) == [SubmitCode.LATE]
    assert await bench.raw.zcard(bench.keys.scheduled) == 0


async def test_a_job_that_got_in_before_is_the_same_job_also_when_its_repetition_is_late(
    bench: Bench,
) -> None:
    await bench.submit("a")
    assert await _submit(bench, job("a"), not_after_ms=PAST_MS) == [SubmitCode.SAME]
    late = replace(job("a"), not_after_ms=PAST_MS)
    assert await _submit(bench, late) == [SubmitCode.SAME]
    assert await _submit(bench, job("a", "other"), not_after_ms=PAST_MS) == [SubmitCode.CONFLICT]


async def test_a_late_job_takes_no_room(bench: Bench) -> None:
    late = replace(job("late"), not_after_ms=PAST_MS)
    assert await _submit(bench, late, job("a"), limit=1) == [SubmitCode.LATE, SubmitCode.NEW]


async def test_a_unique_key_that_was_another_jobs_is_free_for_a_lost_attempt_until_its_time_is_over(
    bench: Bench,
) -> None:
    """Why a client that was told of another job waits for the end of what it had sent before."""
    await bench.submit(job("first", unique="key"))
    asked = job("mine", unique="key")
    assert await _submit(bench, asked, not_after_ms=FUTURE_MS) == [SubmitCode.TAKEN]
    await bench.cancel("first")
    assert await _submit(bench, asked, not_after_ms=PAST_MS) == [SubmitCode.LATE]
    assert await bench.record("mine") == {}
    assert await _submit(bench, asked, not_after_ms=FUTURE_MS) is None
