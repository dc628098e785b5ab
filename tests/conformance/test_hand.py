"""A submit claims for an idle worker that offers it: as that worker's own claim would, and never twice."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from tests.conformance.bench import LONG_MS, OK, Bench, job

from microbatch.common.codec import encode
from microbatch.common.scripts import (
    HANDED_MESSAGE,
    Claimed,
    Idle,
    JobOptions,
    NewJob,
    SettleCode,
    Watch,
    read_handed,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.conformance.bench import Heard

RUNG = [b"1"]
MOST = 16
LARGE = "x" * (65_536 + 1)


@asynccontextmanager
async def _idle(bench: Bench, worker: str = "w1", *, size: int = 32, spare: str = "") -> AsyncIterator[Heard]:
    """A worker that listens, is idle, and offers."""
    async with bench.listening(bench.keys.wake_channel(worker)) as bell:
        assert await bench.claim(f"{worker}-next", worker, size=size, spare=spare, offers="1st") == Idle()
        yield bell


async def _handed(bell: Heard) -> dict[str, list[str]]:
    """The batches of which the worker is told, with the names of their jobs."""
    found = {}
    for message in await bell.all():
        assert message.startswith(HANDED_MESSAGE), message
        batch, claimed = read_handed(message.removeprefix(HANDED_MESSAGE), MOST)
        found[batch] = [entry.local for entry in claimed.entries]
    return found


async def test_a_lone_job_is_claimed_by_its_submit_for_the_newest_idle_worker(bench: Bench) -> None:
    async with _idle(bench, "w1"), _idle(bench, "w2") as bell:
        await bench.raw.zadd(bench.keys.idle, {"w2": await bench.now_ms() + 1})
        await bench.submit("a")
        [message] = await bell.all()
    batch, claimed = read_handed(message.removeprefix(HANDED_MESSAGE), 32)
    assert (batch, claimed.reason, claimed.most) == ("w2-next", "wait", 32)
    [entry] = claimed.entries
    assert (entry.local, entry.client, entry.attempt, entry.payload) == ("a", "c1", 1, encode("a"))
    assert await bench.batches("w2") == {"w2-next": f"{claimed.claimed_ms} wait {entry.token}"}
    assert await bench.pending() == {"main": 1}
    assert (await bench.idle(), await bench.watcher()) == (["w1"], None)
    assert await bench.settle(batch, [entry], "w2") is None
    assert (await bench.record("a"))["state"] == b"succeeded"


async def test_the_workers_own_claim_under_that_id_is_answered_with_the_same_batch(bench: Bench) -> None:
    async with _idle(bench) as bell:
        await bench.submit("a")
        [message] = await bell.all()
    _, claimed = read_handed(message.removeprefix(HANDED_MESSAGE), 32)
    await bench.submit("b")
    assert [entry.token for entry in await bench.take("w1-next")] == [
        entry.token for entry in claimed.entries
    ]


async def test_one_call_with_several_jobs_hands_them_over_as_one_batch(bench: Bench) -> None:
    async with _idle(bench) as bell:
        await bench.submit(*(f"j{n}" for n in range(MOST - 1)))
        assert await _handed(bell) == {"w1-next": [f"j{n}" for n in range(MOST - 1)]}


async def test_a_full_batch_says_so_and_what_is_left_is_handed_to_nobody_but_wakes(bench: Bench) -> None:
    async with _idle(bench, "w1") as other, _idle(bench, "w2", size=2) as bell:
        await bench.raw.zadd(bench.keys.idle, {"w2": await bench.now_ms() + 1})
        await bench.submit("a", "b", "c")
        [message] = await bell.all()
        assert await other.all() == RUNG
    _, claimed = read_handed(message.removeprefix(HANDED_MESSAGE), 2)
    assert (claimed.reason, [entry.local for entry in claimed.entries]) == ("size", ["a", "b"])
    assert [entry.local for entry in await bench.take("w1-next", "w1")] == ["c"]


async def test_many_jobs_are_left_for_a_claim_which_takes_them_in_one_batch(bench: Bench) -> None:
    async with _idle(bench) as bell:
        await bench.submit(*(f"j{n}" for n in range(MOST + 1)))
        assert await bell.all() == RUNG
    assert len(await bench.take("w1-next")) == MOST + 1


async def test_a_worker_is_handed_one_batch_for_each_id_that_it_offers_and_is_idle_until_then(
    bench: Bench,
) -> None:
    async with _idle(bench, spare="w1-spare") as bell:
        await bench.submit("a")
        assert await bench.idle() == ["w1"]
        await bench.submit("b")
        assert await bench.idle() == []
        await bench.submit("c")
        assert await _handed(bell) == {"w1-next": ["a"], "w1-spare": ["b"]}
    assert await bench.pending() == {"main": 2}
    assert [entry.local for entry in await bench.take("w1-third")] == ["c"]


async def test_who_took_the_last_jobs_offers_its_spare_id_only(bench: Bench) -> None:
    await bench.submit("a")
    async with bench.listening(bench.keys.wake_channel("w1")) as bell:
        reply = await bench.claim("first", spare="second", offers="1st")
        assert isinstance(reply, Claimed)
        assert reply.is_last
        await bench.submit("b")
        await bench.submit("c")
        assert await _handed(bell) == {"second": ["b"]}


async def test_the_end_of_a_batch_adds_an_id_to_what_stands(bench: Bench) -> None:
    async with _idle(bench, spare="w1-spare") as bell:
        await bench.submit("a")
        [message] = await bell.all()
        _, claimed = read_handed(message.removeprefix(HANDED_MESSAGE), 32)
        assert await bench.settle("w1-next", claimed.entries, offer=("1st", "w1-third")) is None
        await bench.submit("b")
        assert await bench.idle() == ["w1"]
        await bench.submit("c")
        assert await bench.idle() == []
        assert await _handed(bell) == {"w1-spare": ["b"], "w1-third": ["c"]}


@pytest.mark.parametrize("why", ["repeated", "used up", "of an earlier claim", "none was made"])
async def test_an_id_that_cannot_join_wakes_its_worker_to_look(bench: Bench, why: str) -> None:
    async with _idle(bench, spare="w1-spare") as bell:
        await bench.submit("a")
        [message] = await bell.all()
        _, claimed = read_handed(message.removeprefix(HANDED_MESSAGE), 32)
        offer = ("1st", "w1-third")
        if why == "repeated":
            await bench.settle("w1-next", claimed.entries, offer=offer)
        elif why == "used up":
            await bench.submit("b")
            await bell.all()
        elif why == "of an earlier claim":
            assert await bench.claim("w1-spare", spare="w1-third", offers="2nd") == Idle()
        else:
            await bench.raw.delete(bench.keys.offer("w1"))
        assert await bell.all() == []
        codes = await bench.settle("w1-next", claimed.entries, offer=offer)
        assert codes == ([SettleCode.REPLAY] if why == "repeated" else None)
        assert await bell.all() == RUNG
        offered = (await bench.raw.get(bench.keys.offer("w1")) or b"").split()[2:]
        assert len(offered) == len(set(offered)), "no id stands twice"


async def _hinder(bench: Bench, why: str) -> None:
    keys = bench.keys
    match why:
        case "it missed a look":
            await bench.raw.zadd(keys.idle, {"w1": await bench.now_ms() - 2_000})
        case "its batch is there already":
            await bench.raw.hset(keys.batches("w1"), "w1-next", "1 wait main:0-1")
        case "something is scheduled":
            await bench.submit(NewJob("later", b"", OK, JobOptions(delay_ms=60_000).encoded()))
        case "a job was cancelled":
            await bench.raw.sadd(keys.tombstones, "main:0-1")
        case "the offer is no offer":
            await bench.raw.delete(keys.offer("w1"))
            await bench.raw.rpush(keys.offer("w1"), "x")
        case "its batches are no batches":
            await bench.raw.set(keys.batches("w1"), "x")


@pytest.mark.parametrize(
    "why",
    [
        "it missed a look",
        "it offers nothing",
        "its batch is there already",
        "something is scheduled",
        "a job was cancelled",
        "the job has options",
        "the offer is no offer",
        "its batches are no batches",
    ],
)
async def test_a_job_that_cannot_be_handed_over_waits_for_a_claim(bench: Bench, why: str) -> None:
    async with bench.listening(bench.keys.wake_channel("w1")) as bell:
        assert await bench.claim("w1-next", offers="" if why == "it offers nothing" else "1st") == Idle()
        await _hinder(bench, why)
        options = {"max_attempts": 3} if why == "the job has options" else {}
        assert (await bench.submit(job("a", **options))).codes is None
        assert await bell.all() == RUNG
    assert await bench.pending() == {}
    if why == "its batches are no batches":
        await bench.raw.delete(bench.keys.batches("w1"))
    assert [entry.local for entry in await bench.take("other", "w2")] == ["a"]


async def test_who_does_not_listen_is_handed_nothing(bench: Bench) -> None:
    assert await bench.claim("w1-next", offers="1st") == Idle()
    await bench.submit("a")
    assert (await bench.pending(), await bench.watcher()) == ({}, "0 w1")


async def test_while_a_wake_is_in_flight_nothing_is_handed_to_another_worker(bench: Bench) -> None:
    async with _idle(bench) as bell:
        await bench.raw.set(bench.keys.watcher, "0 w2")
        await bench.submit("a")
        assert await bell.all() == []
    assert await bench.pending() == {}


@pytest.mark.parametrize("which", ["a large one", "one with options"])
async def test_of_a_batch_that_no_message_can_carry_the_worker_is_rung_and_claims_it(
    bench: Bench, which: str
) -> None:
    if which == "one with options":  # it waits; nobody is idle
        await bench.submit(job("first", max_attempts=3))
    async with bench.listening(bench.keys.wake_channel("w1")) as bell:
        await bench.raw.set(bench.keys.offer("w1"), "32 1st w1-next")
        await bench.raw.zadd(bench.keys.idle, {"w1": await bench.now_ms()})
        await bench.submit(job("last", LARGE if which == "a large one" else "small"))
        assert await bell.all() == RUNG
        assert await bench.watcher() is None
    expected = ["first", "last"] if which == "one with options" else ["last"]
    assert [entry.local for entry in await bench.take("w1-next")] == expected


@pytest.mark.parametrize("how", ["claim", "watch", "step aside", "release", "takeover"])
async def test_what_was_offered_stands_no_more_after(bench: Bench, how: str) -> None:
    async with _idle(bench) as bell:
        if how == "claim":
            await bench.claim("w1-next")
        elif how == "watch":
            await bench.put_old("old", 10)
            assert isinstance(await bench.claim("w1-next", wait_ms=LONG_MS), Watch)
        elif how == "step aside":
            await bench.step_aside("w1")
        elif how == "takeover":
            await bench.die("w1")
            await bench.takeover("w1")
        else:
            await bench.release("w1-next")
        assert not await bench.raw.exists(bench.keys.offer("w1"))
        await bench.submit("a")
        assert HANDED_MESSAGE not in b"".join(await bell.all())
    assert await bench.pending() == {}


async def test_a_heartbeat_tells_an_idle_worker_of_a_batch_that_it_has_not_heard_of(bench: Bench) -> None:
    async with _idle(bench):
        await bench.submit("a")
    assert (await bench.beat("w1", idle=True)).work_waits
    assert not (await bench.beat("w1", "w1-next", idle=True)).work_waits
    assert (await bench.beat("w1", stale_claim_ms=-1)).orphans == ["w1-next"]


async def test_a_dead_workers_handed_batch_is_taken_over(bench: Bench) -> None:
    async with _idle(bench):
        await bench.beat("w1", idle=True)
        await bench.submit("a")
    await bench.die("w1")
    assert (await bench.takeover("w1")).moved == 1
    [entry] = await bench.take("b2", "w2")
    assert (entry.local, entry.attempt, entry.is_suspect) == ("a", 2, True)


async def test_whoever_is_handed_jobs_before_it_has_beaten_can_be_found_dead(bench: Bench) -> None:
    async with _idle(bench):
        await bench.submit("a")
    assert await bench.raw.zscore(bench.keys.workers, "w1") is not None
    await bench.die("w1", known=True)
    assert (await bench.beat("w2")).dead == ["w1"]


async def test_a_repeated_submit_hands_nothing_over_a_second_time(bench: Bench) -> None:
    async with _idle(bench, spare="w1-spare") as bell:
        await bench.submit("a")
        await bench.submit("a")
        assert await _handed(bell) == {"w1-next": ["a"]}
    assert await bench.pending() == {"main": 1}


async def test_submits_that_meet_are_handed_to_workers_each_once(real_bench: Bench) -> None:
    bench = real_bench
    async with _idle(bench, "w1", spare="w1-spare") as one, _idle(bench, "w2", spare="w2-spare") as two:
        await asyncio.gather(*(bench.submit(f"j{n}") for n in range(4)))
        batches = {**await _handed(one), **await _handed(two)}
    assert sorted(name for names in batches.values() for name in names) == ["j0", "j1", "j2", "j3"]
    assert set(batches) == {"w1-next", "w1-spare", "w2-next", "w2-spare"}


@pytest.mark.parametrize("lane", ["front", "solo"])
async def test_a_queue_in_which_jobs_were_handed_back_once_hands_over_again(bench: Bench, lane: str) -> None:
    await bench.submit("first")
    await bench.take("b0")
    await bench.release("b0", lane=lane)
    await bench.settle("b1", await bench.take("b1"))
    async with _idle(bench) as bell:
        await bench.submit("a")
        assert await _handed(bell) == {"w1-next": ["a"]}


@pytest.mark.parametrize("lane", ["front", "solo"])
async def test_while_jobs_that_were_handed_back_wait_or_run_nothing_is_handed_over(
    bench: Bench, lane: str
) -> None:
    await bench.submit("first")
    await bench.take("b0")
    async with _idle(bench) as bell:
        await bench.release("b0", lane=lane)
        await bell.all()
        await bench.raw.delete(bench.keys.watcher)
        assert await bench.take("b1", "w2")
        assert await bench.claim("w1-next", offers="again") == Idle()
        await bench.submit("a")
        assert await bell.all() == RUNG
