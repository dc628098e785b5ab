"""settle: one final outcome per job, its entry gone in the same step, its clients told once."""

from __future__ import annotations

from typing import Any

import pytest
from tests.conformance.bench import OK, TTL_MS, Bench, job

from microbatch.common.codec import encode, encode_error
from microbatch.common.jobs.entry import parse_entry
from microbatch.common.scripts import Outcome, SettleCode, settle
from microbatch.common.scripts.await_results import await_results
from microbatch.common.scripts.settle import BatchFacts


async def test_a_result_is_in_the_record_with_a_time_to_live_and_all_that_is_known(bench: Bench) -> None:
    await bench.submit("a", "b")
    entries = await bench.take("b1")
    assert await bench.settle("b1", entries) is None
    record = await bench.record("a")
    assert (record["state"], record["result"], record["entry"]) == (b"succeeded", OK, b"")
    batch, size, reason = record["batch"].split()
    started_ms, worker, waited_ms = record["ran"].split()
    assert (batch, worker, size, reason, waited_ms) == (b"b1", b"w1", b"2", b"wait", b"0")
    assert int(record["enqueued_ms"]) <= int(started_ms) <= int(record["finished_ms"])
    assert record["attempt"] == b"1"
    assert "digest" in record
    assert 0 < await bench.raw.pttl(bench.keys.job("a")) <= TTL_MS


async def test_a_failure_is_an_error_in_the_place_of_a_result(bench: Bench) -> None:
    await bench.submit("a")
    value = encode_error("ValueError", "no")
    await bench.settle("b1", await bench.take("b1"), succeeded=False, value=value)
    record = await bench.record("a")
    assert (record["state"], record["error"]) == (b"failed", value)
    assert "result" not in record


async def test_nothing_is_left_in_the_stream_or_in_the_books(bench: Bench) -> None:
    await bench.submit(*(f"j{n}" for n in range(40)))
    await bench.settle("b1", await bench.take("b1", size=40))
    assert await bench.lengths() == await bench.pending() == {}
    assert await bench.batches() == {}


async def test_the_jobs_own_time_to_live_wins(bench: Bench) -> None:
    await bench.submit(job("a", ttl_ms="5000000"))
    await bench.settle("b1", await bench.take("b1"))
    assert await bench.raw.pttl(bench.keys.job("a")) > TTL_MS


@pytest.mark.parametrize("own", [True, False])
async def test_a_time_to_live_of_zero_keeps_no_record_and_pushes_the_value(
    bench: Bench, *, own: bool
) -> None:
    await bench.submit(job("a", ttl_ms="0" if own else ""))
    big = encode("x" * 100_000)
    async with bench.listening(bench.keys.reply_channel("c1")) as client:
        entries = await bench.take("b1")
        await bench.settle("b1", entries, value=big, ttl_ms=TTL_MS if own else 0)
        assert await client.fragments() == [["a", "succeeded", "x" * 100_000]]
    assert await bench.record("a") == {}
    assert await bench.settle("b1", entries) == [SettleCode.FINAL]


async def test_the_same_settle_again_is_a_replay_and_writes_nothing(bench: Bench) -> None:
    await bench.submit("a")
    entries = await bench.take("b1")
    await bench.settle("b1", entries)
    before = await bench.record("a")
    async with bench.listening(bench.keys.reply_channel("c1")) as client:
        assert await bench.settle("b1", entries, value=encode("other")) == [SettleCode.REPLAY]
        assert await client.all() == []
    assert await bench.record("a") == before


async def test_another_batch_finds_the_job_final(bench: Bench) -> None:
    await bench.submit("a")
    entries = await bench.take("b1")
    await bench.settle("b1", entries)
    assert await bench.settle("b2", entries, "w2", value=encode("other")) == [SettleCode.FINAL]
    assert (await bench.record("a"))["result"] == OK


async def test_a_job_that_moved_on_is_not_written_by_who_held_it(bench: Bench) -> None:
    await bench.submit("a")
    old = await bench.take("b1")
    await bench.release("b1")
    new = await bench.take("b2", "w2")
    assert await bench.settle("b1", old, value=encode("late")) == [SettleCode.MOVED]
    assert await bench.settle("b2", new, "w2") is None
    assert await bench.settle("b1", old, value=encode("later")) == [SettleCode.FINAL]
    assert (await bench.record("a"))["result"] == OK


async def test_codes_come_per_job_where_not_all_were_written(bench: Bench) -> None:
    await bench.submit("a", "b", "c", "d")
    entries = await bench.take("b1")
    await bench.settle("b1", entries[:1], close=False)
    await bench.raw.delete(bench.keys.job("c"))
    await bench.raw.set(bench.keys.job("c"), "foreign")
    codes = await bench.settle("b1", entries)
    assert codes == [SettleCode.REPLAY, SettleCode.WRITTEN, SettleCode.WRONG_TYPE, SettleCode.WRITTEN]
    assert await bench.raw.get(bench.keys.job("c")) == b"foreign"
    assert await bench.lengths() == await bench.pending() == {}


async def test_a_client_is_told_also_where_its_record_was_overwritten(bench: Bench) -> None:
    await bench.submit("a")
    await bench.raw.set(bench.keys.job("a"), "foreign")
    async with bench.listening(bench.keys.reply_channel("c1")) as client:
        await bench.settle("b1", await bench.take("b1"))
        assert await client.fragments() == [["a", "succeeded", "done"]]


async def test_a_job_whose_record_was_deleted_still_gets_its_result(bench: Bench) -> None:
    await bench.submit("a")
    entries = await bench.take("b1")
    await bench.raw.delete(bench.keys.job("a"))
    assert await bench.settle("b1", entries) is None
    assert (await bench.record("a"))["state"] == b"succeeded"
    assert await bench.raw.pttl(bench.keys.job("a")) > 0


async def test_a_record_that_is_gone_is_not_made_again_by_a_zombie(bench: Bench) -> None:
    await bench.submit("a")
    entries = await bench.take("b1")
    await bench.settle("b1", entries)
    await bench.raw.delete(bench.keys.job("a"))  # its time to live has passed
    assert await bench.settle("b1", entries) == [SettleCode.FINAL]
    assert await bench.record("a") == {}


async def test_a_token_that_was_given_again_after_a_failover_belongs_to_the_job_that_has_it(
    bench: Bench,
) -> None:
    """A job of which the promoted replica knows nothing, and whose entry id another job has by now."""
    await bench.submit("new")
    (held,) = await bench.take("b1")
    stale = parse_entry(
        "main", held.token.partition(":")[2].encode(), [b"id", b"undone", b"client", b"c1", b"payload", OK]
    )

    assert await bench.settle("b0", [stale], "w0") == [SettleCode.FINAL]

    assert await bench.record("undone") == {}
    assert await bench.pending() == {"main": 1}
    assert await bench.settle("b1", [held]) is None


async def test_a_stray_copy_of_an_entry_is_removed_and_changes_nothing(bench: Bench) -> None:
    await bench.submit("a")
    ((_, fields),) = await bench.raw.xrange(bench.keys.lane("main"))
    await bench.raw.xadd(bench.keys.lane("main"), fields)
    original, copy = await bench.take("b1")
    assert await bench.settle("b1", [copy], value=encode("copy"), close=False) == [SettleCode.MOVED]
    assert await bench.settle("b1", [original]) is None
    assert (await bench.record("a"))["result"] == OK
    assert await bench.lengths() == await bench.pending() == {}


async def test_a_part_of_a_batch_can_be_settled_and_the_rest_stays_listed(bench: Bench) -> None:
    await bench.submit("a", "b")
    entries = await bench.take("b1")
    await bench.settle("b1", entries[:1], close=False)
    assert list(await bench.batches()) == ["b1"]
    assert (await bench.release("b1")).moved == 1
    assert await bench.lengths() == {"front": 1}


async def test_settling_nothing_closes_the_batch(bench: Bench) -> None:
    await bench.submit("a")
    await bench.take("b1")
    assert await bench.settle("b1", []) is None
    assert await bench.batches() == {}


async def test_each_client_gets_one_message_with_all_its_fragments(bench: Bench) -> None:
    await bench.submit("a", "b", client="c1")
    await bench.submit("c", client="c2")
    async with (
        bench.listening(bench.keys.reply_channel("c1")) as one,
        bench.listening(bench.keys.reply_channel("c2")) as two,
    ):
        await bench.settle("b1", await bench.take("b1"))
        (message,) = await one.all()
        assert message == b"".join(
            encode([local, "succeeded", "done"])
            .replace(encode(local), b"\xd9\x01" + local.encode())
            .replace(encode("succeeded"), b"\xd9\x09succeeded")
            for local in ("a", "b")
        )
        assert await two.fragments() == [["c", "succeeded", "done"]]


async def test_a_big_value_is_not_pushed_it_waits_in_the_record(bench: Bench) -> None:
    await bench.submit("a")
    async with bench.listening(bench.keys.reply_channel("c1")) as client:
        await bench.settle("b1", await bench.take("b1"), value=encode("x" * 70_000))
        assert await client.fragments() == [["a", "succeeded"]]


async def test_messages_are_cut_at_a_mebibyte(bench: Bench) -> None:
    await bench.submit(*(f"j{n:02}" for n in range(40)))
    async with bench.listening(bench.keys.reply_channel("c1")) as client:
        await bench.settle("b1", await bench.take("b1", size=40), value=encode("x" * 60_000))
        messages = await client.all()
    assert [len(message) < (1 << 20) + 70_000 for message in messages] == [True, True, True]


async def test_who_watches_a_job_is_told_once_and_forgotten(bench: Bench) -> None:
    await bench.submit("a")
    await bench.run(await_results(bench.keys, "c2", ["a"], register=True, check=False))
    await bench.run(await_results(bench.keys, "c1", ["a"], register=True, check=False))
    async with (
        bench.listening(bench.keys.reply_channel("c1")) as one,
        bench.listening(bench.keys.reply_channel("c2")) as two,
    ):
        await bench.settle("b1", await bench.take("b1"))
        assert await two.fragments() == await one.fragments() == [["a", "succeeded", "done"]]
    assert await bench.raw.exists(bench.keys.watchers) == 0


async def test_an_entry_without_a_client_is_settled_silently(bench: Bench) -> None:
    await bench.submit("a", client="")
    assert await bench.settle("b1", await bench.take("b1")) is None


async def test_a_batch_of_thousands_is_settled_in_one_call(real_bench: Bench) -> None:
    await real_bench.submit(*(f"j{n}" for n in range(2_500)))
    assert await real_bench.settle("b1", await real_bench.take("b1", size=2_500)) is None
    assert await real_bench.lengths() == await real_bench.pending() == {}


@pytest.mark.parametrize(
    ("local", "more"),
    [("x" * 300, {}), ("ok", {"ttl_ms": "9" * 30}), ("ok", {"ttl_ms": "-1"}), ("ok", {"ttl_ms": "1e400"})],
)
async def test_a_hostile_entry_does_not_cost_its_mates_their_results(
    bench: Bench, local: str, more: dict[str, str]
) -> None:
    fields: dict[Any, Any] = {"v": "1", "id": local, "client": "evil", "payload": b"\xc0", **more}
    await bench.raw.xadd(bench.keys.lane("main"), fields)
    await bench.submit("mate")
    entries = await bench.take("b1")
    await bench.settle("b1", [entry for entry in entries if not entry.fault])
    assert (await bench.record("mate"))["state"] == b"succeeded"


async def test_a_client_id_in_the_settle_call_decides_who_is_told(bench: Bench) -> None:
    await bench.submit("a")
    (entry,) = await bench.take("b1")
    facts = BatchFacts("w1", "b1", "size", 7, 5)
    await bench.run(
        settle(bench.keys, facts, [Outcome(entry, "succeeded", OK)], ttl_ms=9_000, dead_max_length=9)
    )
    record = await bench.record("a")
    assert (record["batch"], record["ran"]) == (b"b1 7 size", b"5 w1 0")


@pytest.mark.parametrize("key", [None, "tenant"])
async def test_what_an_earlier_call_wrote_and_a_failover_undid_goes_back_when_the_batch_is_closed(
    bench: Bench, key: str | None
) -> None:
    """Undone: the entry is there, pending, and the record is not final, as if that call had never been."""
    options = {} if key is None else {"batch_key": key}
    await bench.submit(*(job(local, **options) for local in "abc"))
    entries = await bench.take("b1")
    await bench.settle("b1", entries[:1], close=False, size=3)
    # ... and the call for the second one was undone.
    assert await bench.settle("b1", entries[2:], size=3) is None

    assert await bench.batches() == {}
    again = await bench.take("b2", "w2")
    assert [(entry.local, entry.attempt) for entry in again] == [("b", 2)]
    await bench.settle("b2", again, "w2")
    assert [(await bench.record(local))["state"] for local in "abc"] == [b"succeeded"] * 3
    assert await bench.pending() == await bench.lengths() == {}
    assert await bench.raw.exists(bench.keys.lanes) == 0


async def test_a_batch_that_is_closed_late_takes_nothing_from_whoever_has_its_jobs_now(bench: Bench) -> None:
    await bench.submit("a", "b")
    entries = await bench.take("b1")
    await bench.release("b1")
    moved = await bench.take("b2", "w2")

    assert await bench.settle("b1", entries[:1], size=2) == [SettleCode.MOVED]

    assert await bench.settle("b2", moved, "w2") is None
