"""redrive: an operator opens run n+1 of a failed job; what run n was stays known, and writes no more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.conformance.bench import OK, job

from microbatch.common.codec import decode, encode, encode_error
from microbatch.common.scripts import RecordView, RedriveCode, SettleCode, await_results

if TYPE_CHECKING:
    from tests.conformance.bench import Bench

    from microbatch.common.jobs.entry import Entry

ERROR = encode_error("ValueError", "no")


async def _fail(bench: Bench, local: str = "a", **options: Any) -> tuple[list[Entry], str]:
    """A failed job: its delivery, and the id of its letter."""
    await bench.submit(job(local, "payload", **options))
    entries = await bench.take(f"fail-{local}")
    await bench.settle(f"fail-{local}", entries, succeeded=False, value=ERROR)
    return entries, await _letter(bench)


async def _letter(bench: Bench) -> str:
    (letter,) = await bench.letters(count=1)
    return letter.letter_id


def _netstrings(text: bytes) -> list[bytes]:
    found = []
    while text:
        size, _, rest = text.partition(b":")
        found.append(rest[: int(size)])
        text = rest[int(size) :]
    return found


async def test_a_redriven_job_runs_again_under_its_id(bench: Bench) -> None:
    (old,), letter = await _fail(bench, headers=b"\x80", max_attempts=7, ttl_ms="70000")
    assert await bench.redrive(letter) == [RedriveCode.REDRIVEN]
    assert await bench.letters() == []
    record = await bench.record("a")
    assert (record["state"], record["run"]) == (b"queued", b"2")
    assert record.keys().isdisjoint({"error", "finished_ms", "batch", "attempt"})
    assert await bench.raw.pttl(bench.keys.job("a")) == -1
    (new,) = await bench.take("b2", "w2")
    assert (new.local, new.payload, new.headers) == ("a", old.payload, b"\x80")
    assert (new.max_attempts, new.ttl_ms, new.attempt) == (7, "70000", 1)
    assert await bench.settle("b2", [new], "w2") is None
    view = await bench.run(await_results(bench.keys, "c", ["a"], register=False, check=False))
    assert view == [RecordView("succeeded", OK)]


async def test_the_record_keeps_how_each_run_ended(bench: Bench) -> None:
    _, letter = await _fail(bench)
    finished_ms = (await bench.record("a"))["finished_ms"]
    await bench.redrive(letter)
    await bench.retry("b2", await bench.take("b2"))
    other = encode_error("KeyError", "x" * 20)
    await bench.settle("b3", await bench.take("b3"), succeeded=False, value=other)
    await bench.redrive(await _letter(bench))
    record = await bench.record("a")
    assert record["run"] == b"3"
    assert _netstrings(record["past_1"]) == [b"failed", finished_ms, b"1", ERROR]
    state, _, attempts, error = _netstrings(record["past_2"])
    assert (state, attempts, error) == (b"failed", b"2", other)


async def test_attempts_and_crashes_begin_anew(bench: Bench) -> None:
    await bench.submit("a")
    for number in (1, 2):
        await bench.take(f"b{number}", f"w{number}")
        await bench.alone(f"b{number}", f"w{number}")
        await bench.die(f"w{number}")
        await bench.takeover(f"w{number}")
    await bench.redrive(await _letter(bench))
    (entry,) = await bench.take("b3", "w3")
    assert (entry.attempt, entry.crashes) == (1, 0)


async def test_a_deadline_does_not_hold_for_the_new_run(bench: Bench) -> None:
    _, letter = await _fail(bench, expires_in_ms=60_000)
    await bench.pass_deadline("a")
    await bench.redrive(letter)
    assert "expires_ms" not in await bench.record("a")
    (entry,) = await bench.take("b2")
    assert entry.expires_ms is None


async def test_a_zombie_of_the_first_run_cannot_settle_the_second(bench: Bench) -> None:
    old, letter = await _fail(bench)
    await bench.redrive(letter)
    assert await bench.settle("fail-a", old, value=encode("zombie")) == [SettleCode.MOVED]
    assert await bench.settle("fail-a", old, succeeded=False, value=ERROR) == [SettleCode.MOVED]
    assert await bench.retry("fail-a", old) == [SettleCode.MOVED]
    new = await bench.take("b2", "w2")
    assert await bench.settle("b2", new, "w2") is None
    assert await bench.settle("fail-a", old, value=encode("zombie")) == [SettleCode.FINAL]
    assert (await bench.record("a"))["result"] == OK


async def test_a_record_past_its_time_to_live_is_made_again(bench: Bench) -> None:
    _, letter = await _fail(bench)
    await bench.raw.delete(bench.keys.job("a"))
    assert await bench.redrive(letter) == [RedriveCode.REDRIVEN]
    record = await bench.record("a")
    assert (record["state"], record["run"]) == (b"queued", b"2")
    assert record["digest"] == job("a", "payload").digest
    state, finished_ms, attempts, error = _netstrings(record["past_1"])
    assert (state, attempts, error) == (b"failed", b"1", ERROR)
    assert abs(int(finished_ms) - await bench.now_ms()) < 10_000
    assert (await bench.submit(job("a", "payload"))).codes == [1]
    assert await bench.settle("b2", await bench.take("b2")) is None


async def test_the_run_is_known_also_after_the_record_is_gone(bench: Bench) -> None:
    _, letter = await _fail(bench)
    await bench.redrive(letter)
    await bench.settle("b2", await bench.take("b2"), succeeded=False, value=ERROR)
    await bench.raw.delete(bench.keys.job("a"))
    await bench.redrive(await _letter(bench))
    record = await bench.record("a")
    assert record["run"] == b"3"
    assert "past_2" in record


async def test_a_letter_can_be_redriven_once(bench: Bench) -> None:
    _, letter = await _fail(bench)
    assert await bench.redrive(letter, letter) == [RedriveCode.REDRIVEN, RedriveCode.GONE]
    assert await bench.redrive(letter) == [RedriveCode.GONE]
    assert await bench.lengths() == {"main": 1}


@pytest.mark.parametrize("garbage", ["1-1", "-", "+", "5", "x", "", "(1-1", "1-1 2-2"])
async def test_what_names_no_letter_is_gone_and_costs_the_others_nothing(bench: Bench, garbage: str) -> None:
    _, letter = await _fail(bench)
    assert await bench.redrive(garbage, letter, garbage) == [
        RedriveCode.GONE,
        RedriveCode.REDRIVEN,
        RedriveCode.GONE,
    ]


async def test_half_an_id_does_not_name_a_letter(bench: Bench) -> None:
    _, letter = await _fail(bench)
    assert await bench.redrive(letter.partition("-")[0]) == [RedriveCode.GONE]
    assert len(await bench.letters()) == 1


async def _put_letter(bench: Bench, fields: dict[Any, Any]) -> str:
    found = await bench.raw.xadd(bench.keys.dead, fields)
    return str(found.decode())


@pytest.mark.parametrize("state", ["queued", "scheduled", "succeeded", "cancelled"])
async def test_a_letter_whose_job_is_not_failed_stays(bench: Bench, state: str) -> None:
    one = job("a")
    letter = await _put_letter(
        bench, {"dead_digest": one.digest, "v": "1", "id": "a", "payload": one.payload}
    )
    await bench.submit(job("a", delay_ms=90_000) if state == "scheduled" else "a")
    if state == "succeeded":
        await bench.settle("b1", await bench.take("b1"))
    if state == "cancelled":
        await bench.cancel("a")
    before = await bench.record("a")
    assert await bench.redrive(letter) == [RedriveCode.NOT_FAILED]
    assert await bench.record("a") == before
    assert len(await bench.letters()) == 1


async def test_a_letter_does_not_run_under_an_id_that_has_another_payload_by_now(bench: Bench) -> None:
    _, letter = await _fail(bench)
    await bench.raw.delete(bench.keys.job("a"))  # its time to live has passed
    await bench.submit(job("a", "other payload"))
    await bench.settle("b2", await bench.take("b2"), succeeded=False)
    before = await bench.record("a")
    assert await bench.redrive(letter) == [RedriveCode.NOT_FAILED]
    assert await bench.record("a") == before
    assert await bench.lengths() == {}


async def test_a_foreign_record_is_left_alone(bench: Bench) -> None:
    _, letter = await _fail(bench)
    await bench.raw.delete(bench.keys.job("a"))
    await bench.raw.set(bench.keys.job("a"), "foreign")
    assert await bench.redrive(letter) == [RedriveCode.WRONG_TYPE]
    assert await bench.raw.get(bench.keys.job("a")) == b"foreign"
    assert len(await bench.letters()) == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"hello": b"\xff\x00"},
        {"v": "1", "id": "a"},
        {"v": "1", "payload": b"\xc0"},
        {"v": "1", "id": "a/b", "payload": b"\xc0"},
        {"v": "1", "id": "x" * 129, "payload": b"\xc0"},
        {"v": "1", "id": "", "payload": b"\xc0"},
    ],
)
async def test_a_letter_without_a_job_stays_for_inspection(bench: Bench, fields: dict[Any, Any]) -> None:
    letter = await _put_letter(bench, fields)
    assert await bench.redrive(letter) == [RedriveCode.NO_JOB]
    assert len(await bench.letters()) == 1
    assert await bench.lengths() == {}


async def test_a_foreign_entry_cannot_forge_what_its_letter_says(bench: Bench) -> None:
    await bench.put_old("a", 1, dead_error="forged", dead_run="99", dead_digest="forged")
    await bench.settle("b1", await bench.take("b1"), succeeded=False, value=ERROR)
    await bench.redrive(await _letter(bench))
    record = await bench.record("a")
    assert record["run"] == b"2"
    assert decode(_netstrings(record["past_1"])[3])["type"] == "ValueError"


async def test_a_redrive_wakes_a_worker(bench: Bench) -> None:
    _, letter = await _fail(bench)
    await bench.beat("w2", idle=True)
    await bench.redrive(letter)
    assert await bench.watcher() == "0 w2"


async def test_many_letters_are_redriven_in_one_call_and_keep_their_order(bench: Bench) -> None:
    names = [f"j{n:03}" for n in range(256)]
    await bench.submit(*names)
    await bench.settle("b1", await bench.take("b1", size=256), succeeded=False, value=ERROR)
    letters = [letter.letter_id for letter in reversed(await bench.letters(count=256))]
    assert set(await bench.redrive(*letters)) == {RedriveCode.REDRIVEN}
    assert [entry.local for entry in await bench.take("b2", size=256)] == names
