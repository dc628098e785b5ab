"""Foreign and damaged entries on a real server: each is set aside alone, and its mates never notice."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest
from tests.chaos.kit import Desk, Recorder, desk_at, quick, until

from microbatch.common.codec import encode
from microbatch.worker import Batch, Worker, batch_processor

if TYPE_CHECKING:
    from collections.abc import Iterator

ONE = encode(1)
GARBAGE: dict[str, dict[str, bytes]] = {
    "nothing of ours": {"hello": b"world"},
    "no payload": {"v": b"1", "id": b"g"},
    "no id": {"v": b"1", "payload": ONE},
    "a version that is no number": {"v": b"one", "id": b"g", "payload": ONE},
    "payload bytes that mean nothing": {"v": b"1", "id": b"g", "client": b"c", "payload": b"\xc1\xff"},
    "an empty payload": {"v": b"1", "id": b"g", "client": b"c", "payload": b""},
    "two values in a payload": {"v": b"1", "id": b"g", "client": b"c", "payload": ONE + ONE},
    "a payload that claims to be huge": {
        "v": b"1",
        "id": b"g",
        "client": b"c",
        "payload": b"\xdd\xff\xff\xff\xff",
    },
    "an extension type": {"v": b"1", "id": b"g", "client": b"c", "payload": b"\xd4\x05\x00"},
    "an id that would move its key": {"v": b"1", "id": b"x}:job:{y", "client": b"c", "payload": ONE},
    "an id with a newline": {"v": b"1", "id": b"a\nb", "client": b"c", "payload": ONE},
    "an id of ten kilobytes": {"v": b"1", "id": b"x" * 10_000, "client": b"c", "payload": ONE},
    "bytes that are no text": {"v": b"1", "id": b"\xff\xfe", "client": b"\xff", "payload": ONE},
    "an attempt that is no number": {"v": b"1", "id": b"g", "payload": ONE, "attempt": b"-1"},
    "headers that are no map": {"v": b"1", "id": b"g", "payload": ONE, "headers": encode([1])},
    "two hundred fields": {f"f{number}": b"x" for number in range(200)},
}


@pytest.fixture
def desk(redis_url: str) -> Iterator[Desk]:
    with desk_at(redis_url) as made:
        yield made


def fields_of(desk: Desk, stream: str) -> dict[bytes, bytes]:
    """The fields of the stream's only entry."""
    entries: Any = desk.redis.xrange(stream)
    ((_, fields),) = entries
    found: dict[bytes, bytes] = fields
    return found


@batch_processor(queue="work", max_batch_size=10, max_wait_ms=0)
async def curious(batch: Batch[Any]) -> list[Any]:
    """Looks at everything that a processor can look at."""
    for job in batch:
        assert job.enqueued_at
        assert job.id
        assert job.attempt
        assert job.headers is not None
    return batch.payloads


@pytest.mark.parametrize("name", GARBAGE)
async def test_garbage_goes_to_the_dead_stream_alone_and_its_batch_mates_succeed(
    desk: Desk, name: str
) -> None:
    before = desk.submit("before")
    desk.add_raw(**GARBAGE[name])
    after = desk.submit("after")

    async with Worker([curious], settings=quick(desk.url)):
        await until(lambda: desk.are_final(before + after))
        await until(desk.is_clean)

    assert [desk.result(job) for job in before + after] == ["before", "after"]
    assert desk.record(before[0])["batch"].split()[1] == b"2"
    assert desk.redis.xlen(desk.keys.dead) == 1
    assert desk.redis.xlen(desk.keys.lane("main")) == 0


async def test_all_garbage_at_once_leaves_a_worker_that_works(desk: Desk) -> None:
    for fields in GARBAGE.values():
        desk.add_raw(**fields)
    jobs = desk.submit(1, 2, 3)

    async with Worker([curious], settings=quick(desk.url)):
        await until(lambda: desk.are_final(jobs))
        await until(desk.is_clean)

    assert desk.redis.xlen(desk.keys.dead) == len(GARBAGE)


async def test_a_foreign_entry_far_in_the_future_costs_no_later_job_its_result(desk: Desk) -> None:
    desk.redis.xadd(desk.keys.lane("main"), {"v": "1"}, id="18446744073709551000-0")
    jobs = desk.submit("later", "and later")

    async with Worker([curious], settings=quick(desk.url)):
        await until(lambda: desk.are_final(jobs))

    assert [desk.result(job) for job in jobs] == ["later", "and later"]
    assert desk.redis.xlen(desk.keys.dead) == 1


async def test_a_broken_control_key_makes_no_accepted_job_look_refused(desk: Desk) -> None:
    desk.redis.set(f"{desk.keys.prefix}idle", "not a sorted set")

    jobs = desk.submit("accepted")

    assert len(jobs) == 1
    assert desk.redis.xlen(desk.keys.lane("main")) == 1
    desk.redis.delete(f"{desk.keys.prefix}idle")


async def test_a_worker_starts_and_drains_while_redis_is_at_its_memory_limit(desk: Desk) -> None:
    jobs = desk.submit(*range(50))
    desk.redis.config_set("maxmemory", 1)
    try:
        async with Worker([curious], settings=quick(desk.url)):
            await until(lambda: desk.are_final(jobs))
    finally:
        desk.redis.config_set("maxmemory", 0)

    assert [desk.result(job) for job in jobs] == list(range(50))


async def test_a_bad_payload_under_a_known_id_fails_its_job_with_its_raw_bytes_kept(desk: Desk) -> None:
    (job,) = desk.submit("x")
    lane = desk.keys.lane("main")
    desk.redis.xtrim(lane, maxlen=0)
    token = desk.add_raw(v=b"1", id=job.encode(), client=b"c", payload=b"\xc1")
    desk.redis.hset(desk.keys.job(job), "entry", token)

    async with Worker([curious], settings=quick(desk.url)):
        await until(lambda: desk.are_final([job]))

    assert desk.error(job)["type"] == "PayloadError"
    assert fields_of(desk, desk.keys.dead)[b"payload"] == b"\xc1"


async def test_an_entry_of_a_later_version_is_handed_back_uncounted_and_its_mates_succeed(desk: Desk) -> None:
    before = desk.submit(1)
    desk.add_raw(v=b"99", id=b"future", client=b"c", payload=b"\xc1", shape=b"unknown")
    after = desk.submit(2)

    async with Worker([curious], settings=quick(desk.url)):
        await until(lambda: desk.are_final(before + after))
        await until(lambda: desk.redis.xlen(desk.keys.lane("front")) == 1)

    assert desk.status().waiting == 1
    assert desk.redis.xlen(desk.keys.dead) == 0
    fields = fields_of(desk, desk.keys.lane("front"))
    assert (fields[b"v"], fields[b"shape"], fields[b"attempt"]) == (b"99", b"unknown", b"0")
    assert desk.held_batches() == []


async def test_an_entry_of_a_later_version_delays_nobody_while_no_newer_worker_comes(desk: Desk) -> None:
    desk.add_raw(v=b"99", id=b"future", client=b"c", payload=b"?")
    async with Worker([curious], settings=quick(desk.url)):
        times_s = []
        for number in range(20):
            jobs = desk.submit(number)
            times_s.append(await until(lambda jobs=jobs: desk.are_final(jobs)))  # type: ignore[misc] # a default

    assert sorted(times_s)[10] < 0.6  # most of them: the machine may hold up any
    assert desk.redis.xlen(desk.keys.lane("front")) == 1
    assert desk.held_batches() == []


async def test_many_entries_of_a_later_version_are_not_passed_round_in_a_tight_loop(desk: Desk) -> None:
    for number in range(40):
        desk.add_raw(v=b"99", id=b"f%d" % number, client=b"c", payload=b"?")
    async with Worker([curious], settings=quick(desk.url)):
        await until(lambda: desk.redis.xlen(desk.keys.lane("front")))
        desk.reset_statistics()
        began_s = time.monotonic()
        await asyncio.sleep(1.0)  # how much it does in a second is what is asked
        calls, seconds = desk.script_calls(), time.monotonic() - began_s

    assert calls <= 12 * seconds
    assert desk.status().waiting == 40


async def test_an_entry_that_was_added_twice_gives_one_result_and_costs_its_mates_none(desk: Desk) -> None:
    jobs = desk.submit("a", "b")
    desk.add_raw(v=b"1", id=jobs[0].encode(), client=b"c", payload=encode("copy"))

    @batch_processor(queue="work", max_batch_size=10, max_wait_ms=0)
    async def by_id(batch: Batch[str]) -> dict[str, str]:
        return {job.id: job.payload for job in reversed(batch)}

    async with Worker([by_id], settings=quick(desk.url)):
        await until(lambda: desk.are_final(jobs))
        await until(desk.is_clean)

    assert [desk.result(job) for job in jobs] == ["a", "b"]


async def test_a_record_key_that_holds_something_else_costs_only_its_own_job(desk: Desk) -> None:
    jobs = desk.submit("a", "b", "c")
    desk.redis.delete(desk.keys.job(jobs[1]))
    desk.redis.set(desk.keys.job(jobs[1]), "somebody else's")

    async with Worker([curious], settings=quick(desk.url)):
        await until(lambda: desk.are_final([jobs[0], jobs[2]]))
        await until(desk.is_clean)

    assert desk.redis.get(desk.keys.job(jobs[1])) == b"somebody else's"
    assert desk.redis.xlen(desk.keys.lane("main")) == 0


async def test_a_job_whose_record_was_deleted_is_processed_and_gets_its_result(desk: Desk) -> None:
    (job,) = desk.submit("a")
    desk.redis.delete(desk.keys.job(job))

    async with Worker([curious], settings=quick(desk.url)):
        await until(lambda: desk.are_final([job]))

    assert desk.result(job) == "a"


async def test_a_queue_whose_lane_is_no_stream_leaves_other_queues_alone(desk: Desk) -> None:
    broken, fine = Recorder("broken", max_wait_ms=0), Recorder("work", max_wait_ms=0)
    with desk_at(desk.url, "broken") as at_broken:
        async with Worker([broken, fine], settings=quick(desk.url, heartbeat_limit_s=1)) as worker:
            at_broken.redis.delete(at_broken.keys.lane("main"))
            at_broken.redis.set(at_broken.keys.lane("main"), "a string")
            beat = desk.redis.zscore(desk.keys.workers, worker.id)
            jobs = desk.submit(1)
            await until(lambda: desk.are_final(jobs))
            await until(lambda: desk.redis.zscore(desk.keys.workers, worker.id) != beat)

            at_broken.redis.delete(at_broken.keys.lane("main"))
            again = at_broken.submit(2)
            await until(lambda: at_broken.are_final(again))


@pytest.mark.parametrize("name", ["tombstones", "scheduled", "workers", "idle", "lane:main"])
async def test_a_key_that_something_else_overwrote_stops_work_for_seconds_only(desk: Desk, name: str) -> None:
    async with Worker([Recorder(max_wait_ms=0)], settings=quick(desk.url, heartbeat_limit_s=1)):
        desk.redis.delete(desk.keys.prefix + name)
        desk.redis.set(desk.keys.prefix + name, "oops")
        await until(lambda: desk.redis.get(desk.keys.aside(name)) == b"oops")
        jobs = desk.submit(1)
        await until(lambda: desk.are_final(jobs))

    assert [desk.result(job) for job in jobs] == [1]
