"""Dead letters: who writes them, what they say, how many are kept, how they are paged and purged."""

from __future__ import annotations

import pytest
from tests.conformance.bench import OK, TTL_MS, Bench, job

from microbatch.common.codec import decode, encode_error
from microbatch.common.scripts import BatchFacts, Fault, Outcome, RedriveCode, quarantine, settle

ERROR = encode_error("ValueError", "no", "Traceback ...")


async def _fail(bench: Bench, *locals_: str, keep: int = 1_000) -> None:
    await bench.submit(*locals_)
    entries = await bench.take("bf", size=1_000)
    facts = BatchFacts("w1", "bf", "size", len(entries), 5)
    outcomes = [Outcome(entry, "failed", ERROR) for entry in entries]
    await bench.run(settle(bench.keys, facts, outcomes, ttl_ms=TTL_MS, dead_max_length=keep))


async def _locals(bench: Bench) -> list[str]:
    return [letter.fields[b"id"].decode() for letter in await bench.letters()]


async def test_a_failed_job_leaves_a_letter_with_all_that_another_run_needs(bench: Bench) -> None:
    headers = b"\x81\xa1k\xa1v"
    await bench.submit(job("a", "payload", headers=headers, ttl_ms="70000", max_attempts=3), "good")
    bad, good = await bench.take("b1")
    await bench.settle("b1", [bad], succeeded=False, value=ERROR, close=False)
    await bench.settle("b1", [good])
    (letter,) = await bench.letters()
    assert letter.fields[b"id"] == b"a"
    assert decode(letter.fields[b"payload"]) == "payload"
    assert (letter.fields[b"headers"], letter.fields[b"ttl_ms"]) == (headers, b"70000")
    assert letter.fields[b"max_attempts"] == b"3"
    assert letter.fields[b"dead_error"] == ERROR
    assert letter.fields[b"dead_token"] == bad.token.encode()
    assert (letter.fields[b"dead_worker"], letter.fields[b"dead_batch"]) == (b"w1", b"b1")
    assert (letter.fields[b"dead_attempt"], letter.fields[b"dead_run"]) == (b"1", b"1")
    assert letter.fields[b"dead_digest"] == job("a", "payload").digest
    assert abs(int(letter.fields[b"dead_ms"]) - await bench.now_ms()) < 10_000


async def test_a_letter_counts_the_attempts_of_the_job(bench: Bench) -> None:
    await bench.submit("a")
    await bench.retry("b1", await bench.take("b1"))
    await bench.settle("b2", await bench.take("b2"), succeeded=False)
    (letter,) = await bench.letters()
    assert letter.fields[b"dead_attempt"] == b"2"


async def test_neither_success_nor_retry_nor_a_settle_that_lost_leaves_a_letter(bench: Bench) -> None:
    await bench.submit("a", "b")
    entries = await bench.take("b1")
    await bench.settle("b1", entries[:1], close=False)
    await bench.retry("b1", entries[1:])
    await bench.settle("b1", entries, succeeded=False)
    assert await bench.letters() == []


async def test_the_same_failure_settled_twice_leaves_one_letter(bench: Bench) -> None:
    await bench.submit("a")
    entries = await bench.take("b1")
    for _ in range(2):
        await bench.settle("b1", entries, succeeded=False)
    assert await _locals(bench) == ["a"]


async def test_a_job_that_keeps_no_record_leaves_a_letter_all_the_same(bench: Bench) -> None:
    await bench.submit(job("a", ttl_ms="0"))
    await bench.settle("b1", await bench.take("b1"), succeeded=False)
    assert await bench.record("a") == {}
    (letter,) = await bench.letters()
    assert letter.fields[b"dead_digest"] == job("a").digest


async def test_a_failure_whose_entry_was_deleted_names_its_job(bench: Bench) -> None:
    await bench.submit("a")
    entries = await bench.take("b1")
    await bench.raw.xdel(bench.keys.lane("main"), entries[0].token.partition(":")[2])
    await bench.settle("b1", entries, succeeded=False)
    (letter,) = await bench.letters()
    assert letter.fields[b"id"] == b"a"
    assert await bench.redrive(letter.letter_id) == [RedriveCode.NO_JOB]


async def test_a_job_that_crashed_too_often_leaves_a_letter(bench: Bench) -> None:
    await bench.submit(job("a", "payload"))
    for number in (1, 2):
        await bench.take(f"b{number}", f"w{number}")
        await bench.alone(f"b{number}", f"w{number}")
        await bench.die(f"w{number}")
        await bench.takeover(f"w{number}")
    (letter,) = await bench.letters()
    assert decode(letter.fields[b"dead_error"])["type"] == "WorkerLost"
    assert decode(letter.fields[b"payload"]) == "payload"
    assert (letter.fields[b"dead_worker"], letter.fields[b"dead_attempt"]) == (b"w2", b"2")


async def test_a_crasher_whose_record_was_deleted_is_failed_too(bench: Bench) -> None:
    # Otherwise it would come back and kill workers for ever.
    await bench.submit("a")
    await bench.raw.delete(bench.keys.job("a"))
    for number in (1, 2):
        await bench.take(f"b{number}", f"w{number}")
        await bench.alone(f"b{number}", f"w{number}")
        await bench.die(f"w{number}")
        await bench.takeover(f"w{number}")
    assert await bench.lengths() == {}
    assert await _locals(bench) == ["a"]
    assert (await bench.record("a"))["state"] == b"failed"


async def test_a_crasher_with_a_foreign_record_is_buried_and_its_client_told(bench: Bench) -> None:
    await bench.submit("a")
    await bench.raw.set(bench.keys.job("a"), "foreign")
    await bench.take("b1")
    await bench.alone("b1")
    await bench.die("w1")
    async with bench.listening(bench.keys.reply_channel("c1")) as client:
        assert (await bench.takeover("w1", max_crashes=1)).failed == 1
        ((local, state, error),) = await client.fragments()
    assert (local, state, error["type"]) == ("a", "failed", "WorkerLost")
    assert await bench.raw.get(bench.keys.job("a")) == b"foreign"
    assert await _locals(bench) == ["a"]


async def test_the_result_of_a_job_given_up_after_a_retry_is_final_and_no_replay(bench: Bench) -> None:
    # Its record names the reason of the earlier run.
    await bench.submit("a")
    await bench.retry("b1", await bench.take("b1"))
    entries = await bench.take("b2")
    await bench.alone("b2")
    await bench.die("w1")
    await bench.takeover("w1", max_crashes=1)
    assert [code.name for code in await bench.settle("b2", entries) or []] == ["FINAL"]


async def test_what_has_to_make_room_is_counted(bench: Bench) -> None:
    await _fail(bench, "a", "b", "c", "d", "e", keep=2)
    assert await _locals(bench) == ["e", "d"]
    status = await bench.queue()
    assert (status.dead, status.dead_trimmed) == (2, 3)
    await _fail(bench, "f", keep=2)
    assert (await bench.queue()).dead_trimmed == 4


async def test_a_foreign_key_in_the_place_of_the_letters_costs_nobody_a_result(bench: Bench) -> None:
    await bench.raw.set(bench.keys.dead, "foreign")
    await bench.submit("bad", "good", "worse")
    bad, good, worse = await bench.take("b1")
    await bench.settle("b1", [bad], succeeded=False, close=False)
    fault = Fault("ProtocolError", "no")
    call = quarantine(bench.keys, ("w1", "b1"), worse, fault, ttl_ms=TTL_MS, dead_max_length=9)
    assert await bench.run(call)
    await bench.settle("b1", [good])
    states = [(await bench.record(local))["state"] for local in ("bad", "good", "worse")]
    assert states == [b"failed", b"succeeded", b"failed"]
    assert await bench.lengths() == await bench.pending() == {}
    assert await bench.raw.get(bench.keys.dead) == b"foreign"
    assert await bench.raw.hget(bench.keys.counters, "dead_refused") == b"2"
    assert (await bench.queue()).dead == 0


async def test_broken_counters_and_schedule_cost_nobody_a_result(bench: Bench) -> None:
    await bench.raw.set(bench.keys.counters, "foreign")
    await bench.submit("bad", "again", "good")
    bad, again, good = await bench.take("b1")
    await bench.raw.set(bench.keys.scheduled, "foreign")
    await bench.settle("b1", [bad], succeeded=False, close=False)
    await bench.retry("b1", [again])
    await bench.settle("b1", [good])
    states = [(await bench.record(local))["state"] for local in ("bad", "again", "good")]
    assert states == [b"failed", b"failed", b"succeeded"]  # it cannot wait, so its last error stands
    status = await bench.queue()
    assert (status.scheduled, status.dead_trimmed, status.dead) == (0, 0, 2)


async def test_pages_come_newest_first_and_go_on_behind_the_last_letter(bench: Bench) -> None:
    names = [f"j{n:02}" for n in range(40)]
    await _fail(bench, *names)
    seen: list[str] = []
    newest = "+"
    while page := await bench.letters(newest=newest, count=17):
        assert len(page) <= 17
        seen += [letter.fields[b"id"].decode() for letter in page]
        newest = f"({page[-1].letter_id}"
    assert seen == names[::-1]


async def test_a_page_stops_at_a_mebibyte_and_has_at_least_one_letter(bench: Bench) -> None:
    for n in range(4):
        await bench.submit(job(f"j{n}", "x" * 600_000))
        await bench.settle("b1", await bench.take("b1"), succeeded=False)
    assert len(await bench.letters()) == 2


async def test_purging_deletes_the_named_letters_and_counts_them(bench: Bench) -> None:
    await _fail(bench, "a", "b", "c")
    c, b, _ = await bench.letters()
    assert await bench.purge(b.letter_id, c.letter_id, "1-1") == 2
    assert await bench.purge(b.letter_id) == 0
    assert await _locals(bench) == ["a"]
    assert (await bench.record("b"))["state"] == b"failed"


async def test_purging_without_names_takes_the_oldest_a_bounded_number_a_call(bench: Bench) -> None:
    for start in range(0, 1_200, 400):
        await _fail(bench, *(f"j{start + n:04}" for n in range(400)), keep=5_000)
    assert [await bench.purge() for _ in range(3)] == [1_000, 200, 0]
    assert await bench.raw.xlen(bench.keys.dead) == 0


async def test_letters_of_a_queue_without_any_are_none(bench: Bench) -> None:
    assert await bench.letters() == []
    assert await bench.purge() == 0


@pytest.mark.parametrize("full", ["settle", "redrive", "purge"])
async def test_a_full_server_still_buries_redrives_and_purges(real_bench: Bench, full: str) -> None:
    bench = real_bench
    await _fail(bench, "a")
    await bench.submit("b")
    entries = await bench.take("b1")
    (letter,) = await bench.letters()
    await bench.raw.config_set("maxmemory", 1)
    try:
        if full == "settle":
            assert await bench.settle("b1", entries, succeeded=False, value=OK) is None
            assert len(await bench.letters()) == 2
        elif full == "redrive":
            assert await bench.redrive(letter.letter_id) == [RedriveCode.REDRIVEN]
        else:
            assert await bench.purge() == 1
    finally:
        await bench.raw.config_set("maxmemory", 0)
