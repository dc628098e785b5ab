"""Side lanes: jobs with a key or a priority wait apart, ride with their like, and leave nothing behind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.conformance.bench import LONG_MS, Bench, job

from microbatch.common.jobs.entry import parse_entry
from microbatch.common.keys import GROUP
from microbatch.common.scripts import Claimed, SettleCode, SubmitCode, Watch

if TYPE_CHECKING:
    from microbatch.common.scripts import NewJob

INDEX = ("lanes", "forming", "held", "ageing", "aged", "ranks")


def keyed(local: str, key: str = "k", **options: Any) -> NewJob:
    return job(local, batch_key=key, **options)


async def drain(bench: Bench, **more: Any) -> list[list[str]]:
    """Claim and settle until nothing is left; the jobs of each batch."""
    batches: list[list[str]] = []
    while isinstance(reply := await bench.claim(f"d{len(batches)}", **more), Claimed):
        batches.append([entry.local for entry in reply.entries])
        assert await bench.settle(f"d{len(batches) - 1}", reply.entries) is None
    return batches


async def leftovers(bench: Bench) -> set[str]:
    """What the lanes left in Redis once they are empty."""
    found = {key.decode() async for key in bench.raw.scan_iter(f"{bench.keys.prefix}*")}
    short = {key.removeprefix(bench.keys.prefix) for key in found}
    return {name for name in short if name in INDEX or name.startswith("ready:") or "/" in name}


async def test_only_jobs_of_one_key_share_a_batch(bench: Bench) -> None:
    await bench.submit(*(keyed(f"{key}{n}", key) for n in range(3) for key in "ab"), "plain")
    batches = await drain(bench)
    assert sorted(map(sorted, batches)) == [["a0", "a1", "a2"], ["b0", "b1", "b2"], ["plain"]]


async def test_a_job_knows_its_key_and_its_priority(bench: Bench) -> None:
    await bench.submit(keyed("a", "model-7", priority=-3), job("b", priority=12))
    entries = [entry for n in range(2) for entry in await bench.take(f"b{n}")]
    assert [(e.local, e.batch_key, e.priority) for e in entries] == [("b", "", 12), ("a", "model-7", -3)]
    assert entries[1].token.startswith("-3/model-7:")


async def test_the_higher_priority_goes_first_and_lower_ones_fill_its_batch_up(bench: Bench) -> None:
    await bench.submit(job("low", priority=-1), "main", job("mid", priority=5), job("top", priority=50))
    assert await drain(bench, size=3) == [["top", "mid", "main"], ["low"]]


async def test_priorities_hold_within_a_key_too(bench: Bench) -> None:
    await bench.submit(keyed("a"), keyed("b", priority=5), keyed("c", "other", priority=1))
    assert await drain(bench, size=2) == [["b", "a"], ["c"]]


async def test_a_lane_that_is_not_due_waits_for_company(bench: Bench) -> None:
    await bench.submit(keyed("a"))
    reply = await bench.claim("b1", size=3, wait_ms=LONG_MS)
    assert isinstance(reply, Watch)
    assert 0 < reply.wait_s <= 1


async def test_a_lane_is_due_when_its_oldest_job_has_waited_long_enough(bench: Bench) -> None:
    await bench.submit(keyed("a"))
    await bench.raw.zadd(bench.keys.forming, {"0/k": await bench.now_ms() - 60_000})
    assert [e.local for e in await bench.take("b1", size=3, wait_ms=30_000)] == ["a"]


async def test_a_full_lane_leaves_at_once(bench: Bench) -> None:
    await bench.raw.hset(bench.keys.settings, "max_batch_size", "3")
    await bench.submit(keyed("a"), keyed("b"), keyed("x", "other"))
    assert isinstance(await bench.claim("b1", size=3, wait_ms=LONG_MS), Watch)
    await bench.submit(keyed("c"))
    reply = await bench.claim("b1", size=3, wait_ms=LONG_MS)
    assert isinstance(reply, Claimed)
    assert ([e.local for e in reply.entries], reply.reason) == (["a", "b", "c"], "size")


async def test_a_full_lane_wakes_the_watcher(bench: Bench) -> None:
    await bench.raw.hset(bench.keys.settings, "max_batch_size", "2")
    await bench.submit(keyed("a"))
    assert isinstance(await bench.claim("b1", size=2, wait_ms=LONG_MS), Watch)
    async with bench.listening(bench.keys.wake_channel("w1")) as heard:
        await bench.submit(keyed("x", "other"))
        assert await heard.all() == []
        await bench.submit(keyed("b"))
        assert await heard.all() == [b"1"]


async def test_a_first_keyed_job_wakes_an_idle_worker(bench: Bench) -> None:
    await bench.claim("b1")
    async with bench.listening(bench.keys.wake_channel("w1")) as heard:
        await bench.submit(keyed("a"))
        assert await heard.all() == [b"1"]


async def test_a_lane_goes_with_its_last_job_and_comes_again_with_the_next(bench: Bench) -> None:
    for n in range(3):
        await bench.submit(keyed(f"a{n}"), keyed(f"b{n}", priority=7))
        await drain(bench)
        assert await leftovers(bench) == set()
    assert (await bench.queue()).waiting == 0


async def test_a_lane_with_running_jobs_stays_and_knows_only_workers_that_hold_some(bench: Bench) -> None:
    await bench.submit(keyed("a"), keyed("b"))
    first = await bench.take("b1", "w1", size=1)
    await bench.take("b2", "w2", size=1)
    await bench.settle("b1", first, "w1")
    assert await bench.consumers("0/k") == {"w2"}
    assert (await bench.queue()).running == 1


async def test_a_repeated_claim_of_lanes_returns_the_same_entries(bench: Bench) -> None:
    await bench.submit(job("a", priority=2), "b", keyed("c"))
    first = await bench.take("b1", size=4)
    assert [e.token for e in await bench.take("b1", size=4)] == [e.token for e in first]
    assert len(first) == 2


async def test_the_status_counts_all_lanes(bench: Bench) -> None:
    await bench.submit(keyed("a"), keyed("b", "x"), job("c", priority=3), "d")
    assert ((await bench.queue()).waiting, (await bench.queue()).running) == (4, 0)
    await bench.take("b1", size=1)
    status = await bench.queue()
    assert (status.waiting, status.running) == (3, 1)
    assert status.oldest_age_s is not None


async def test_the_length_limit_counts_all_lanes(bench: Bench) -> None:
    await bench.submit(keyed("a"), keyed("b", "x"), limit=3)
    assert (await bench.submit("c", "d", limit=3)).codes == [SubmitCode.NEW, SubmitCode.FULL]


async def test_more_lanes_than_allowed_are_refused_until_one_goes(bench: Bench) -> None:
    reply = await bench.submit(*(keyed(f"a{n}", f"k{n}", max_batch_keys=2) for n in range(3)))
    assert reply.codes == [SubmitCode.NEW, SubmitCode.NEW, SubmitCode.TOO_MANY_KEYS]
    assert (await bench.submit(keyed("b", "k1", max_batch_keys=2))).codes is None
    await bench.settle("b1", await bench.take("b1"))
    assert (await bench.submit(keyed("a2", "k2", max_batch_keys=2))).codes is None


async def test_what_is_handed_back_goes_first_and_keeps_its_key(bench: Bench) -> None:
    await bench.submit(keyed("a"), keyed("b", "other"))
    await bench.take("b1")
    await bench.submit(keyed("c"), job("top", priority=9))
    await bench.release("b1")
    reply = await bench.claim("b2")
    assert isinstance(reply, Claimed)
    assert (reply.reason, [e.local for e in reply.entries]) == ("recovery", ["a", "c"])
    assert [e.token.partition(":")[0] for e in reply.entries] == ["front/k", "0/k"]
    await bench.settle("b2", reply.entries)
    assert await drain(bench) == [["top"], ["b"]]
    assert await leftovers(bench) == set()


async def test_jobs_of_a_dead_worker_run_alone_whatever_their_key(bench: Bench) -> None:
    await bench.submit(keyed("a"), keyed("b"))
    await bench.take("b1", "dead")
    await bench.die("dead")
    assert (await bench.takeover("dead")).moved == 2
    assert await leftovers(bench) == set()
    assert await drain(bench) == [["a"], ["b"]]


async def test_a_retried_job_returns_to_its_lane(bench: Bench) -> None:
    await bench.submit(keyed("a", priority=4))
    await bench.retry("b1", await bench.take("b1"))
    assert await leftovers(bench) == set()
    (entry,) = await bench.take("b2")
    assert (entry.token.partition(":")[0], entry.attempt, entry.batch_key) == ("4/k", 2, "k")


async def test_a_delayed_job_comes_into_its_lane(bench: Bench) -> None:
    await bench.submit(keyed("a", delay_ms=60_000), keyed("b", "other", delay_ms=60_000))
    await bench.make_due("a", "b")
    assert sorted(await drain(bench)) == [["a"], ["b"]]


async def test_a_redriven_job_returns_to_its_lane(bench: Bench) -> None:
    await bench.submit(keyed("a", priority=-2))
    await bench.settle("b1", await bench.take("b1"), succeeded=False)
    await bench.redrive((await bench.letters())[0].letter_id)
    (entry,) = await bench.take("b2")
    assert (entry.token.partition(":")[0], entry.priority) == ("-2/k", -2)


async def test_a_waiting_job_that_is_cancelled_is_gone_at_once(bench: Bench) -> None:
    await bench.submit(keyed("a"), keyed("b"))
    assert await bench.cancel("a") == "cancelled"
    assert (await bench.queue()).waiting == 1
    assert await drain(bench) == [["b"]]
    await bench.submit(keyed("c"))
    await bench.cancel("c")
    assert await leftovers(bench) == set()


async def test_a_running_job_that_is_cancelled_leaves_nothing(bench: Bench) -> None:
    await bench.submit(keyed("a"))
    entries = await bench.take("b1")
    await bench.cancel("a")
    assert await leftovers(bench) == set()
    assert await bench.settle("b1", entries) == [SettleCode.FINAL]


async def test_a_lane_that_comes_again_never_repeats_an_entry_id(bench: Bench) -> None:
    await bench.submit(keyed("a"))
    (entry,) = await bench.take("b1")
    await bench.settle("b1", [entry])
    # As if the clock had been set back: the next id would be a lower one.
    late = f"{await bench.now_ms() + 60_000}-5"
    await bench.raw.hset(bench.keys.side, "floor", late)
    await bench.submit(keyed("b"))
    (again,) = await bench.take("b2")
    assert again.token == f"0/k:{late.removesuffix('5')}6"


async def test_where_the_stream_of_a_lane_was_deleted_others_go_on(bench: Bench) -> None:
    await bench.submit(keyed("a"), keyed("b", "other"))
    await bench.raw.delete(bench.keys.lane("0/k"))
    assert await drain(bench) == [["b"]]
    assert await leftovers(bench) == set()


async def test_where_the_group_of_a_lane_was_destroyed_it_is_healed(bench: Bench) -> None:
    await bench.submit(keyed("a"))
    await bench.raw.xgroup_destroy(bench.keys.lane("0/k"), GROUP)
    assert await drain(bench) == [["a"]]


async def test_where_the_index_was_deleted_whoever_asks_for_a_job_brings_its_lane_back(bench: Bench) -> None:
    await bench.submit(keyed("a"))
    await bench.raw.delete(*(bench.keys.prefix + name for name in INDEX))
    assert not isinstance(await bench.claim("b1"), Claimed)
    await bench.status("a")
    assert await drain(bench) == [["a"]]


@pytest.mark.parametrize("name", ["lanes", "forming", "ranks", "side"])
async def test_a_broken_index_refuses_keyed_jobs_and_no_others(bench: Bench, name: str) -> None:
    await bench.raw.set(bench.keys.prefix + name, "oops")
    reply = await bench.submit(keyed("a"), "b")
    assert reply.codes == [SubmitCode.WRONG_TYPE, SubmitCode.NEW]
    assert await bench.record("a") == {}


async def test_a_leaving_worker_says_what_it_holds_in_side_lanes(bench: Bench) -> None:
    await bench.submit(keyed("a"), keyed("b"))
    entries = await bench.take("b1")
    assert await bench.step_aside("w1", leaving=True) == 2
    await bench.settle("b1", entries)
    assert await bench.step_aside("w1", leaving=True) == 0


async def counts(bench: Bench) -> tuple[int, int]:
    """What the side lanes' counters say: jobs, and how many of them wait."""
    jobs, waiting = await bench.raw.hmget(bench.keys.side, "jobs", "waiting")
    return int(jobs), int(waiting)


async def unclaimed(bench: Bench, lane: str, count: int) -> list[Any]:
    """Entries as a worker has them whose claim a failover took away: here nobody was ever given them."""
    rows = await bench.raw.xrange(bench.keys.lane(lane), "-", "+", count)
    return [
        parse_entry(lane, entry_id, [part for pair in fields.items() for part in pair])
        for entry_id, fields in rows
    ]


async def test_a_job_whose_claim_was_undone_is_no_longer_counted_as_waiting_once_it_has_ended(
    bench: Bench,
) -> None:
    await bench.submit(keyed("a"), keyed("b"), keyed("c"), keyed("x", "other"))
    done, failed = await unclaimed(bench, "0/k", 2)

    assert await bench.settle("b1", [done]) is None
    assert await bench.settle("b1", [failed], succeeded=False) is None

    assert await counts(bench) == (2, 2)
    assert (await bench.queue()).waiting == 2


async def test_a_job_that_is_withdrawn_while_a_worker_runs_it_was_not_waiting(bench: Bench) -> None:
    await bench.submit(keyed("a"), keyed("b"), keyed("x", "other"))
    await bench.take("b1", size=1)

    assert await bench.cancel("a") == "cancelled"

    assert await counts(bench) == (2, 2)


@pytest.mark.parametrize("drifted", [("90", "7"), ("0", "-4")])
async def test_counts_that_somebody_made_wrong_are_taken_anew_by_a_thorough_look(
    bench: Bench, drifted: tuple[str, str]
) -> None:
    await bench.submit(keyed("a"), keyed("b"), keyed("c"), keyed("x", "other"))
    await bench.take("b1", size=1)
    jobs, waiting = drifted
    await bench.raw.hset(bench.keys.side, mapping={"jobs": jobs, "waiting": waiting})

    await bench.beat("w1", "b1")
    assert await counts(bench) == (int(jobs), int(waiting))
    await bench.beat("w1", "b1", thorough=True)
    assert await counts(bench) == (4, 3)
    assert ((await bench.queue()).waiting, (await bench.queue()).running) == (3, 1)

    await bench.raw.hset(bench.keys.side, "waiting", "5")
    await bench.beat("w2", thorough=True)
    assert await counts(bench) == (4, 5)  # not so soon again, whoever looks
    await bench.raw.hincrby(bench.keys.side, "counted_ms", -10_000)
    await bench.beat("w2", thorough=True)
    assert await counts(bench) == (4, 3)


async def test_a_group_that_was_destroyed_is_counted_again_too(bench: Bench) -> None:
    await bench.submit(keyed("a"), keyed("b"), keyed("c"))
    await bench.take("b1", size=2)
    await bench.raw.xgroup_destroy(bench.keys.lane("0/k"), GROUP)
    await bench.take("b2", "w2", size=1)  # from 0: a job runs twice, and its first end counts

    await bench.beat("w1", "b1", thorough=True)

    assert await counts(bench) == (3, 2)


async def test_more_lanes_than_a_look_may_cost_are_left_alone(bench: Bench) -> None:
    await bench.submit(*(keyed(f"j{n}", f"k{n}") for n in range(257)))
    await bench.raw.hset(bench.keys.side, "waiting", "300")

    await bench.beat(thorough=True)
    assert await counts(bench) == (257, 300)

    await bench.cancel("j0")
    await bench.beat(thorough=True)
    assert await counts(bench) == (256, 256)
