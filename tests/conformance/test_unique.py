"""Unique keys: one job for a key while it is alive, or as long as its submitter said; freed by what fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.conformance.bench import TTL_MS, Bench, job

from microbatch.common.scripts import SubmitCode

if TYPE_CHECKING:
    from microbatch.common.scripts import SubmitReply

LONG_MS = 600_000
TAKEN, NEW = SubmitCode.TAKEN, SubmitCode.NEW


async def _submit(bench: Bench, local: str, key: str = "key", for_ms: int | None = None) -> SubmitReply:
    return await bench.submit(job(local, unique=key, unique_for_ms=for_ms))


async def _end(bench: Bench, *, succeeded: bool = True, ttl_ms: int = TTL_MS) -> None:
    await bench.settle("b1", await bench.take("b1"), succeeded=succeeded, ttl_ms=ttl_ms)


async def test_a_second_job_with_the_key_is_answered_with_the_first_ones_id(bench: Bench) -> None:
    assert (await _submit(bench, "a")).codes is None
    reply = await bench.submit("x", job("b", {"other": "payload"}, unique="key"), "y")
    assert reply.codes == [NEW, TAKEN, NEW]
    assert reply.firsts == {1: "a"}
    assert await bench.record("b") == {}
    assert await bench.lengths() == {"main": 3}


async def test_two_jobs_of_one_call_with_one_key_are_one(bench: Bench) -> None:
    reply = await bench.submit(job("a", unique="key"), job("b", unique="key"), job("c", unique="other"))
    assert (reply.codes, reply.firsts) == ([NEW, TAKEN, NEW], {1: "a"})


async def test_a_job_that_waits_for_its_time_or_runs_has_its_key(bench: Bench) -> None:
    await bench.submit(job("a", unique="key", delay_ms=LONG_MS))
    assert (await _submit(bench, "b")).firsts == {0: "a"}
    await bench.make_due("a")
    entries = await bench.take("b1")
    assert (await _submit(bench, "c")).firsts == {0: "a"}
    await bench.retry("b1", entries, delay_ms=LONG_MS)
    assert (await _submit(bench, "d")).firsts == {0: "a"}


async def test_a_job_whose_worker_died_still_has_its_key(bench: Bench) -> None:
    await _submit(bench, "a")
    await bench.take("b1")
    await bench.die("w1")
    await bench.takeover("w1")
    assert (await _submit(bench, "b")).firsts == {0: "a"}


@pytest.mark.parametrize("succeeded", [True, False])
async def test_without_a_time_the_key_is_free_once_the_job_ended(bench: Bench, *, succeeded: bool) -> None:
    await _submit(bench, "a")
    await _end(bench, succeeded=succeeded)
    assert (await _submit(bench, "b")).codes is None


async def test_with_a_time_a_job_that_succeeded_has_its_key_until_then(bench: Bench) -> None:
    await _submit(bench, "a", for_ms=LONG_MS)
    await _end(bench)
    assert (await _submit(bench, "b", for_ms=LONG_MS)).firsts == {0: "a"}
    await bench.raw.hset(bench.keys.unique, "key", "a 1")  # time passes
    assert (await _submit(bench, "c", for_ms=LONG_MS)).codes is None


async def test_the_time_does_not_end_the_uniqueness_of_a_living_job(bench: Bench) -> None:
    await _submit(bench, "a", for_ms=1)
    await bench.raw.hset(bench.keys.unique, "key", "a 1")
    assert (await _submit(bench, "b")).firsts == {0: "a"}


async def test_what_fails_is_cancelled_or_expires_frees_its_key_at_once(bench: Bench) -> None:
    await _submit(bench, "failed", for_ms=LONG_MS)
    await _end(bench, succeeded=False)
    assert (await _submit(bench, "cancelled", for_ms=LONG_MS)).codes is None
    await bench.cancel("cancelled")
    assert (
        await bench.submit(job("late", unique="key", unique_for_ms=LONG_MS, expires_in_ms=1))
    ).codes is None
    await bench.pass_deadline("late")
    assert (await _submit(bench, "next")).codes is None  # although nobody has asked for the late one yet


async def test_a_job_past_its_deadline_that_runs_has_its_key(bench: Bench) -> None:
    await bench.submit(job("a", unique="key", expires_in_ms=LONG_MS))
    await bench.take("b1")
    await bench.pass_deadline("a")
    assert (await _submit(bench, "b")).firsts == {0: "a"}


async def test_a_job_that_was_lost_does_not_block_its_key_for_ever(bench: Bench) -> None:
    await _submit(bench, "a")
    await bench.raw.delete(bench.keys.lane("main"))
    assert (await _submit(bench, "b")).codes is None


async def test_a_full_queue_still_names_the_first(bench: Bench) -> None:
    await _submit(bench, "a")
    reply = await bench.submit(job("b", unique="key"), "c", limit=1)
    assert (reply.codes, reply.firsts) == ([TAKEN, SubmitCode.FULL], {0: "a"})


async def test_a_known_id_is_the_same_job_whatever_its_key(bench: Bench) -> None:
    await _submit(bench, "a")
    assert (await _submit(bench, "a", "other")).codes == [SubmitCode.SAME]
    assert (await _submit(bench, "b", "other")).codes is None


@pytest.mark.parametrize(("said", "kept_ms"), [("", 60_000), ("0", 60_000), ("90000", 90_000)])
async def test_the_outcome_is_kept_for_whoever_got_the_id(bench: Bench, said: str, kept_ms: int) -> None:
    await bench.submit(job("a", unique="key", ttl_ms=said))
    await _end(bench)
    assert kept_ms - 10_000 < await bench.raw.pttl(bench.keys.job("a")) <= kept_ms


async def test_the_outcome_is_kept_as_long_as_the_key(bench: Bench) -> None:
    await _submit(bench, "a", for_ms=9_000_000)
    await _end(bench)
    assert await bench.raw.pttl(bench.keys.job("a")) > 8_000_000


async def test_keys_of_ended_jobs_do_not_pile_up(bench: Bench) -> None:
    for number in range(60):
        await _submit(bench, f"a{number}", f"key{number}")
        await _end(bench)
    assert await bench.raw.hlen(bench.keys.unique) <= 20


async def test_keys_in_use_are_never_dropped(bench: Bench) -> None:
    for number in range(60):
        await _submit(bench, f"a{number}", f"key{number}")
    assert await bench.raw.hlen(bench.keys.unique) == 60


@pytest.mark.parametrize("value", ["", "a", "a b c", "a -1", "../x 5"])
async def test_a_value_that_is_not_ours_holds_no_key(bench: Bench, value: str) -> None:
    await bench.raw.hset(bench.keys.unique, "key", value)
    assert (await _submit(bench, "b")).codes is None


async def test_a_broken_key_of_ours_stops_no_submit(bench: Bench) -> None:
    await bench.raw.set(bench.keys.unique, "oops")
    assert (await _submit(bench, "a")).codes is None
    assert await bench.lengths() == {"main": 1}
