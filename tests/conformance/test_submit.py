"""submit: one record and one entry per accepted job, or a code that says why not."""

from __future__ import annotations

from tests.conformance.bench import Bench, job

from microbatch.common.scripts import SubmitCode


async def test_new_jobs_get_one_record_and_one_entry_each(bench: Bench) -> None:
    reply = await bench.submit("a", "b")
    assert reply.codes is None
    assert await bench.lengths() == {"main": 2}
    record = await bench.record("a")
    entries = await bench.raw.xrange(bench.keys.lane("main"))
    assert record["entry"] == b"main:" + entries[0][0]
    assert record["state"] == b"queued"
    assert record["digest"] == job("a").digest
    assert entries[0][1] == {b"id": b"a", b"client": b"c1", b"payload": job("a").payload}


async def test_headers_and_ttl_travel_in_the_entry(bench: Bench) -> None:
    await bench.submit(job("a", headers=b"\x80", ttl_ms="5"))
    (entry,) = await bench.take("b1")
    assert (entry.headers, entry.ttl_ms) == (b"\x80", "5")


async def test_the_same_submit_again_adds_nothing(bench: Bench) -> None:
    await bench.submit("a", "b")
    reply = await bench.submit("a", "b")
    assert reply.codes == [SubmitCode.SAME, SubmitCode.SAME]
    assert await bench.lengths() == {"main": 2}


async def test_the_same_job_twice_in_one_call_is_accepted_once(bench: Bench) -> None:
    reply = await bench.submit("a", "a")
    assert reply.codes == [SubmitCode.NEW, SubmitCode.SAME]
    assert await bench.lengths() == {"main": 1}


async def test_an_id_with_another_payload_is_a_conflict_and_changes_nothing(bench: Bench) -> None:
    await bench.submit(job("a", 1))
    before = await bench.record("a")
    reply = await bench.submit("b", job("a", 2), "c")
    assert reply.codes == [SubmitCode.NEW, SubmitCode.CONFLICT, SubmitCode.NEW]
    assert await bench.record("a") == before
    assert await bench.lengths() == {"main": 3}


async def test_a_full_queue_refuses_what_does_not_fit_and_says_when_to_come_back(bench: Bench) -> None:
    reply = await bench.submit("a", "b", "c", limit=2)
    assert reply.codes == [SubmitCode.NEW, SubmitCode.NEW, SubmitCode.FULL]
    assert 50 <= reply.retry_after_ms <= 30_000
    assert await bench.lengths() == {"main": 2}
    assert await bench.record("c") == {}


async def test_the_time_to_come_back_grows_with_the_age_of_the_oldest_job(bench: Bench) -> None:
    await bench.put_old("old", age_ms=10_000_000)
    assert (await bench.submit("a", limit=1)).retry_after_ms == 30_000


async def test_a_known_job_is_the_same_job_even_when_the_queue_is_full(bench: Bench) -> None:
    await bench.submit("a", limit=1)
    reply = await bench.submit("a", "b", limit=1)
    assert reply.codes == [SubmitCode.SAME, SubmitCode.FULL]


async def test_running_and_handed_back_jobs_count_as_in_the_queue(bench: Bench) -> None:
    await bench.submit("a", "b")
    await bench.take("b1", size=1)
    await bench.release("b1")
    await bench.take("b2", size=1)
    assert (await bench.submit("c", limit=2)).codes == [SubmitCode.FULL]


async def test_a_settled_job_makes_room(bench: Bench) -> None:
    await bench.submit("a", limit=1)
    await bench.settle("b1", await bench.take("b1"))
    assert (await bench.submit("b", limit=1)).codes is None


async def test_a_record_key_that_holds_something_else_costs_only_its_own_job(bench: Bench) -> None:
    await bench.raw.set(bench.keys.job("a"), "foreign")
    reply = await bench.submit("a", "b")
    assert reply.codes == [SubmitCode.WRONG_TYPE, SubmitCode.NEW]
    assert await bench.raw.get(bench.keys.job("a")) == b"foreign"
    assert await bench.lengths() == {"main": 1}


async def test_a_final_job_is_not_run_again_by_a_second_submit(bench: Bench) -> None:
    await bench.submit("a")
    await bench.settle("b1", await bench.take("b1"))
    assert (await bench.submit("a")).codes == [SubmitCode.SAME]
    assert await bench.lengths() == {}


async def test_a_submit_of_nothing_changes_nothing(bench: Bench) -> None:
    assert (await bench.submit()).codes is None
    assert await bench.raw.keys("*") == []


async def test_the_group_reads_from_the_beginning_whoever_comes_first(bench: Bench) -> None:
    await bench.submit("a")
    (group,) = await bench.raw.xinfo_groups(bench.keys.lane("main"))
    assert group["last-delivered-id"] == b"0-0"


async def test_the_largest_call_of_a_coalescer_is_accepted(bench: Bench) -> None:
    jobs = [job(f"j{n:04}") for n in range(2_000)]
    assert (await bench.submit(*jobs)).codes is None
    assert await bench.lengths() == {"main": 2_000}
