"""release and takeover: a job leaves who had it and is claimable in one step, and nobody else is blamed."""

from __future__ import annotations

from typing import Any

from tests.conformance.bench import LONG_MS, OK, Bench, job

from microbatch.common.codec import decode, encode
from microbatch.common.scripts import Claimed, Released, SettleCode, TakenOver


async def test_released_jobs_are_claimable_at_once_in_their_order(bench: Bench) -> None:
    await bench.submit("a", "b")
    await bench.take("b1")
    assert await bench.release("b1") == Released(2, 0)
    assert await bench.lengths() == {"front": 2}
    assert await bench.pending() == await bench.batches() == {}
    assert [e.local for e in await bench.take("b2", "w2", wait_ms=LONG_MS)] == ["a", "b"]


async def test_a_run_that_had_begun_counts_as_an_attempt(bench: Bench) -> None:
    await bench.submit("a")
    for ran, attempt in ((False, 1), (True, 2), (True, 3)):
        await bench.take("b1")
        await bench.release("b1", ran=ran)
        (entry,) = await bench.take("b2")
        assert entry.attempt == attempt
        assert entry.crashes == 0
        await bench.release("b2")


async def test_a_death_of_the_process_that_ran_one_job_counts_against_it_and_a_hand_back_does_not(
    bench: Bench,
) -> None:
    await bench.submit("a")
    for is_crash, crashes in ((True, 1), (False, 1), (True, 2)):
        await bench.take("b1")
        assert await bench.release("b1", ran=True, lane="solo", is_crash=is_crash) == Released(1, 0)
        assert await bench.lengths() == {"solo": 1}
        (entry,) = await bench.take("b2")
        assert entry.crashes == crashes
        await bench.release("b2")


async def test_the_record_names_the_new_entry(bench: Bench) -> None:
    await bench.submit("a")
    await bench.take("b1")
    await bench.release("b1")
    (entry,) = await bench.take("b2")
    assert (await bench.record("a"))["entry"].decode() == entry.token


async def test_releasing_an_unknown_or_released_batch_does_nothing(bench: Bench) -> None:
    await bench.submit("a")
    await bench.take("b1")
    await bench.release("b1")
    assert await bench.release("b1") == Released(0, 0)
    assert await bench.release("never") == Released(0, 0)
    assert await bench.lengths() == {"front": 1}


async def test_settled_jobs_of_a_batch_are_not_released(bench: Bench) -> None:
    await bench.submit("a", "b")
    entries = await bench.take("b1")
    await bench.settle("b1", entries[1:], close=False)
    assert await bench.release("b1") == Released(1, 0)
    assert (await bench.record("b"))["state"] == b"succeeded"


async def test_a_large_batch_is_released_in_chunks(bench: Bench) -> None:
    await bench.submit(*(f"j{n}" for n in range(600)))
    await bench.take("b1", size=600)
    replies = [await bench.release("b1") for _ in range(4)]
    assert replies == [Released(256, 344), Released(256, 88), Released(88, 0), Released(0, 0)]
    assert await bench.lengths() == {"front": 600}
    assert await bench.pending() == {}


async def test_the_last_job_of_a_half_released_batch_did_not_run_alone(bench: Bench) -> None:
    await bench.submit(*(f"j{n}" for n in range(257)))
    await bench.take("b1", size=257)
    assert await bench.release("b1") == Released(256, 1)
    await bench.die("w1")
    await bench.takeover("w1", max_crashes=1)
    assert (await bench.record("j256"))["state"] == b"queued"


async def test_a_job_without_a_record_is_moved_all_the_same(bench: Bench) -> None:
    await bench.submit("a")
    await bench.take("b1")
    await bench.raw.delete(bench.keys.job("a"))
    assert (await bench.release("b1")).moved == 1
    assert await bench.raw.exists(bench.keys.job("a")) == 0


async def test_a_stray_copy_of_an_entry_is_dropped_instead_of_moved(bench: Bench) -> None:
    await bench.submit("a")
    ((_, fields),) = await bench.raw.xrange(bench.keys.lane("main"))
    await bench.raw.xadd(bench.keys.lane("main"), fields)
    await bench.take("b1")
    assert await bench.release("b1") == Released(1, 0)
    assert await bench.lengths() == {"front": 1}
    assert await bench.pending() == {}


async def test_who_hands_back_does_not_wake_itself(bench: Bench) -> None:
    await bench.submit("a")
    await bench.take("b1")
    await bench.beat("w2", idle=True)
    await bench.raw.zadd(bench.keys.idle, {"w1": await bench.now_ms() + 5})
    await bench.release("b1")
    assert await bench.watcher() == "0 w2"


async def test_a_foreign_entry_with_thousands_of_fields_does_not_block_recovery(bench: Bench) -> None:
    fields: dict[Any, Any] = {f"f{n}": "x" for n in range(9_000)}
    await bench.raw.xadd(bench.keys.lane("main"), fields)
    await bench.submit("a")
    await bench.take("b1")
    assert (await bench.release("b1")).moved == 2
    assert await bench.pending() == {}


async def test_a_living_worker_is_not_taken_over(bench: Bench) -> None:
    await bench.submit("a")
    await bench.beat("w1")
    await bench.take("b1")
    assert await bench.takeover("w1") == TakenOver(-1, 0, 0)
    assert await bench.pending() == {"main": 1}


async def test_jobs_that_a_dead_worker_ran_together_become_suspects_without_blame(bench: Bench) -> None:
    await bench.submit("a", "b")
    await bench.take("b1")
    await bench.die("w1")
    assert await bench.takeover("w1") == TakenOver(2, 0, 0)
    assert await bench.lengths() == {"solo": 2}
    (entry,) = await bench.take("b2", "w2")
    assert (entry.attempt, entry.crashes) == (2, 0)


async def test_a_death_alone_is_a_crash_and_the_last_one_is_the_jobs_failure(bench: Bench) -> None:
    await bench.submit("a")
    async with bench.listening(bench.keys.reply_channel("c1")) as client:
        for number, expected in ((1, TakenOver(1, 0, 0)), (2, TakenOver(0, 1, 0))):
            worker = f"w{number}"
            (entry,) = await bench.take(f"b{number}", worker)
            assert (entry.crashes, entry.attempt) == (number - 1, number)
            assert await bench.alone(f"b{number}", worker)
            await bench.die(worker)
            assert await bench.takeover(worker, max_crashes=2) == expected
        ((local, state, error),) = await client.fragments()
    assert (local, state, error["type"]) == ("a", "failed", "WorkerLost")
    record = await bench.record("a")
    assert (record["state"], record["entry"], record["attempt"]) == (b"failed", b"", b"2")
    assert decode(record["error"])["type"] == "WorkerLost"
    assert await bench.raw.pttl(bench.keys.job("a")) > 0
    assert await bench.lengths() == await bench.pending() == {}


async def test_innocents_that_a_dying_worker_held_besides_the_suspect_are_not_blamed(bench: Bench) -> None:
    await bench.submit("killer", "next slot", "waiting")
    for number in range(3):
        await bench.take(f"b{number}", size=1)
    await bench.alone("b0")
    await bench.die("w1")
    assert await bench.takeover("w1", max_crashes=1) == TakenOver(2, 1, 0)
    assert (await bench.record("killer"))["state"] == b"failed"
    found = [(await bench.take(f"c{number}", "w2"))[0] for number in range(2)]
    assert [entry.crashes for entry in found] == [0, 0]


async def test_a_batch_that_was_taken_over_is_not_run_alone(bench: Bench) -> None:
    await bench.submit("a")
    await bench.take("b1")
    await bench.die("w1")
    await bench.takeover("w1")
    assert not await bench.alone("b1")
    assert await bench.batches() == {}


async def test_the_poison_is_found_and_its_mates_succeed(bench: Bench) -> None:
    await bench.submit("a", "poison", "b")
    await bench.take("b0", "w0")
    await bench.die("w0")
    await bench.takeover("w0")
    for number in range(1, 9):
        reply = await bench.claim(f"b{number}", f"w{number}")
        if not isinstance(reply, Claimed):
            break
        (entry,) = reply.entries
        assert await bench.alone(f"b{number}", f"w{number}")
        if entry.local == "poison":
            await bench.die(f"w{number}")
            await bench.takeover(f"w{number}")
        else:
            await bench.settle(f"b{number}", [entry], f"w{number}")
    states = [(await bench.record(local))["state"] for local in ("a", "poison", "b")]
    assert states == [b"succeeded", b"failed", b"succeeded"]


async def test_a_job_handed_back_or_failed_is_never_a_suspect(bench: Bench) -> None:
    await bench.submit("a")
    await bench.take("b1")
    await bench.release("b1", ran=True)
    await bench.take("b2")
    await bench.alone("b2")
    await bench.die("w1")
    await bench.takeover("w1", max_crashes=2)
    (entry,) = await bench.take("b3", "w3")
    assert entry.crashes == 1


async def test_the_zombie_finds_its_jobs_moved_and_writes_nothing(bench: Bench) -> None:
    await bench.submit("a", "b")
    old = await bench.take("b1")
    await bench.die("w1")
    await bench.takeover("w1")
    assert await bench.settle("b1", old, value=encode("late")) == [SettleCode.MOVED] * 2
    new = await bench.take("b2", "w2")
    assert await bench.settle("b2", new, "w2") is None
    assert await bench.settle("b1", old) == [SettleCode.FINAL, SettleCode.MOVED]
    assert (await bench.record("a"))["result"] == OK


async def test_a_late_result_of_a_job_that_was_given_up_is_no_replay(bench: Bench) -> None:
    await bench.submit("a")
    entries = await bench.take("b1")
    await bench.alone("b1")
    await bench.die("w1")
    await bench.takeover("w1", max_crashes=1)
    assert await bench.settle("b1", entries) == [SettleCode.FINAL]
    assert (await bench.record("a"))["state"] == b"failed"


async def test_the_zombies_release_and_repeated_claim_find_nothing_of_the_old_batch(bench: Bench) -> None:
    await bench.submit("a")
    await bench.take("b1")
    await bench.die("w1")
    await bench.takeover("w1")
    assert await bench.release("b1") == Released(0, 0)
    assert [e.token.partition(":")[0] for e in await bench.take("b1")] == ["solo"]


async def test_a_dead_workers_many_jobs_are_taken_over_in_chunks_and_none_is_blamed(bench: Bench) -> None:
    await bench.submit(*(f"j{n}" for n in range(513)))
    await bench.take("b1", size=257)
    await bench.take("b2", size=256)
    await bench.die("w1")
    replies = [await bench.takeover("w1", max_crashes=1) for _ in range(4)]
    assert [(reply.moved, reply.failed) for reply in replies] == [(256, 0), (256, 0), (1, 0), (0, 0)]
    assert [reply.left > 0 for reply in replies] == [True, True, False, False]
    assert await bench.lengths() == {"solo": 513}
    assert await bench.pending() == await bench.batches() == {}


async def test_a_dead_worker_is_remembered_until_it_owns_nothing(bench: Bench) -> None:
    await bench.submit(*(f"j{n}" for n in range(257)))
    await bench.take("b1", size=257)
    await bench.die("w1")
    await bench.takeover("w1")
    assert (await bench.beat("w2")).dead == ["w1"]
    assert await bench.consumers() == {"w1"}
    await bench.takeover("w1")
    assert (await bench.beat("w2")).dead == []
    assert await bench.consumers() == set()


async def test_a_worker_that_thaws_during_its_takeover_keeps_the_rest(bench: Bench) -> None:
    await bench.submit(*(f"j{n}" for n in range(300)))
    entries = await bench.take("b1", size=300)
    await bench.die("w1")
    await bench.takeover("w1")
    await bench.beat("w1", "b1")
    assert await bench.takeover("w1") == TakenOver(-1, 0, 0)
    codes = await bench.settle("b1", entries) or []
    assert (codes.count(SettleCode.MOVED), codes.count(SettleCode.WRITTEN)) == (256, 44)
    assert await bench.pending() == {}


async def test_a_dead_workers_idleness_and_watch_go_with_it(bench: Bench) -> None:
    await bench.submit("a")
    await bench.claim("b1", size=5, wait_ms=LONG_MS)
    assert await bench.watcher() == "5 w1"
    await bench.die("w1")
    await bench.takeover("w1")
    assert await bench.watcher() is None
    await bench.beat("w2", idle=True)
    assert await bench.idle() == ["w2"]
    await bench.die("w2")
    await bench.takeover("w2", by="w3")
    assert await bench.idle() == []
    assert await bench.watcher() is None  # `a` waits, and the dead one was not woken for it


async def test_entries_that_a_dead_worker_holds_without_a_batch_are_found(bench: Bench) -> None:
    # Nobody but the takeover would ever look for them: they would be running for ever.
    await bench.submit("a", "b")
    await bench.take("b1")
    await bench.raw.delete(bench.keys.batches("w1"))
    await bench.die("w1")
    assert await bench.takeover("w1") == TakenOver(2, 0, 0)
    assert await bench.pending() == {}
    assert await bench.consumers() == set()


async def test_an_entry_that_was_deleted_under_a_dead_worker_does_not_keep_its_consumer(bench: Bench) -> None:
    await bench.submit("a", "b")
    entries = await bench.take("b1")
    await bench.raw.xdel(bench.keys.lane("main"), entries[0].token.partition(":")[2])
    await bench.die("w1")
    assert await bench.takeover("w1") == TakenOver(1, 0, 0)
    assert await bench.pending() == {}
    assert await bench.consumers() == set()


async def test_a_lost_job_keeps_its_own_time_to_live(bench: Bench) -> None:
    await bench.submit(job("a", ttl_ms="5000000"), job("b", ttl_ms="0"))
    for batch in ("b1", "b2"):
        await bench.take(batch, size=1)
        await bench.alone(batch)
    await bench.die("w1")
    assert (await bench.takeover("w1", max_crashes=1)).failed == 2
    assert await bench.raw.pttl(bench.keys.job("a")) > 1_000_000
    assert await bench.record("b") == {}


async def test_a_hostile_time_to_live_does_not_stop_a_takeover(bench: Bench) -> None:
    await bench.put_old("a", age_ms=1, ttl_ms="1e400")
    await bench.submit("b")
    for batch in ("b1", "b2"):
        await bench.take(batch, size=1)
        await bench.alone(batch)
    await bench.die("w1")
    assert await bench.takeover("w1", max_crashes=1) == TakenOver(0, 2, 0)


async def test_what_a_dead_worker_holds_without_a_batch_is_taken_over_from_every_lane(bench: Bench) -> None:
    await bench.submit("plain", job("keyed", batch_key="k"), job("ranked", priority=5))
    for batch in ("b1", "b2"):
        await bench.take(batch)
    await bench.raw.delete(bench.keys.batches("w1"))  # nothing says which batches these were
    await bench.die("w1")

    assert await bench.takeover("w1") == TakenOver(3, 0, 0)

    assert await bench.lengths() == {"solo": 3}
    assert await bench.raw.exists(bench.keys.lanes) == 0
