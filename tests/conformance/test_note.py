"""note and job_log: what a processor says about its job is kept in the record, bounded and fenced."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.conformance.bench import TTL_MS

from microbatch.common.jobs.happenings import parse_lines
from microbatch.common.netstrings import read_netstrings
from microbatch.common.scripts import JobNote, job_log, note

if TYPE_CHECKING:
    from tests.conformance.bench import Bench

    from microbatch.common.jobs.entry import Entry


async def say(
    bench: Bench,
    entry: Entry,
    *texts: str,
    upto: int = 0,
    progress: bytes = b"",
    most_lines: int = 100,
    most_bytes: int = 10_000,
) -> int:
    lines = [f"0 info {text}".encode() for text in texts]
    said = JobNote(entry.local, entry.token, entry.attempt, progress, upto or len(texts), lines)
    return await bench.run(note(bench.keys, [said], most_lines=most_lines, most_bytes=most_bytes))


async def texts_of(bench: Bench, local: str = "a", known: int = 0) -> list[str]:
    view = await bench.run(job_log(bench.keys, local, known))
    assert view is not None
    packed = read_netstrings(view.packed)
    assert len(packed) == view.kept
    return [line.text for line in parse_lines(packed, 1)]


async def held(bench: Bench) -> Entry:
    await bench.submit("a")
    (entry,) = await bench.take("b1")
    return entry


async def test_lines_are_kept_in_order_with_time_attempt_and_level(bench: Bench) -> None:
    entry = await held(bench)
    now_ms = await bench.now_ms()
    said = JobNote("a", entry.token, 1, b"", 2, [b"40 warning two words\nand a line end", b"0 info \xc3\xa4"])
    assert await bench.run(note(bench.keys, [said], most_lines=9, most_bytes=999)) == 1

    view = await bench.run(job_log(bench.keys, "a"))
    assert view is not None
    first, second = parse_lines(read_netstrings(view.packed), 1)
    assert (first.level, first.text, first.attempt) == ("warning", "two words\nand a line end", 1)
    assert (second.level, second.text, second.number) == ("info", "ä", 2)
    assert now_ms - 40 <= round(first.at.timestamp() * 1000)
    assert first.at < second.at


async def test_the_same_call_again_adds_nothing_and_later_lines_do(bench: Bench) -> None:
    entry = await held(bench)
    assert [await say(bench, entry, "one"), await say(bench, entry, "one")] == [1, 1]
    assert await say(bench, entry, "two", "three", upto=3) == 1
    assert await texts_of(bench) == ["one", "two", "three"]


async def test_a_log_goes_on_in_the_next_run_and_lives_as_long_as_the_record(bench: Bench) -> None:
    await say(bench, await held(bench), "first run")
    await bench.release("b1")
    (entry,) = await bench.take("b2", "w2")
    await say(bench, entry, "second run")
    await bench.settle("b2", [entry], "w2")
    assert await texts_of(bench) == ["first run", "second run"]
    assert 0 < await bench.raw.pttl(bench.keys.job("a")) <= TTL_MS
    assert await bench.raw.keys(f"{bench.keys.prefix}job:*") == [bench.keys.job("a").encode()]


async def test_a_zombie_and_a_final_job_write_nothing(bench: Bench) -> None:
    old = await held(bench)
    await bench.release("b1")
    (entry,) = await bench.take("b2", "w2")
    assert await say(bench, old, "a zombie", progress=b"1 done") == 0
    await bench.settle("b2", [entry], "w2")
    assert await say(bench, entry, "too late", progress=b"1 done") == 0
    record = await bench.record("a")
    assert record.keys().isdisjoint({"log", "log_facts", "progress"})


async def test_beyond_either_limit_the_oldest_lines_go(bench: Bench) -> None:
    entry = await held(bench)
    for n in range(1, 31):
        await say(bench, entry, f"line {n}", upto=n, most_lines=16)
    kept = await texts_of(bench)
    assert kept == [f"line {n}" for n in range(31 - len(kept), 31)]
    assert 14 <= len(kept) <= 16
    await say(bench, entry, "x" * 700, "y" * 700, upto=32, most_bytes=1_000)
    assert await texts_of(bench) == ["y" * 700]
    view = await bench.run(job_log(bench.keys, "a"))
    assert view is not None
    assert (view.total, view.kept) == (32, 1)


async def test_who_knows_all_lines_is_sent_none(bench: Bench) -> None:
    entry = await held(bench)
    await say(bench, entry, "one", "two")
    assert await texts_of(bench, known=2) == []
    assert await texts_of(bench, known=1) == ["one", "two"]


async def test_the_latest_progress_is_in_the_record_and_nothing_else_changes(bench: Bench) -> None:
    entry = await held(bench)
    before = await bench.record("a")
    await say(bench, entry, progress=b"0.25 a quarter")
    await say(bench, entry, progress=b"0.5 half of it")
    record = await bench.record("a")
    assert record.pop("progress").split(b" ", 1)[1] == b"1 0.5 half of it"
    assert record == before


async def test_a_log_that_somebody_broke_is_begun_anew(bench: Bench) -> None:
    entry = await held(bench)
    await bench.raw.hset(bench.keys.job("a"), mapping={"log": "oops", "log_facts": "oops"})
    await say(bench, entry, *(f"line {n}" for n in range(20)), most_lines=16)
    assert (await bench.run(job_log(bench.keys, "a"))).kept == 0  # type: ignore[union-attr]
    await say(bench, entry, "fresh", upto=21)
    assert await texts_of(bench) == ["fresh"]


async def test_jobs_of_one_call_are_judged_each_on_its_own(bench: Bench) -> None:
    await bench.submit("a", "b", "c")
    a, b, c = await bench.take("b1")
    await bench.cancel("b")
    await bench.raw.delete(bench.keys.job("c"))
    await bench.raw.set(bench.keys.job("c"), "foreign")
    notes = [JobNote(each.local, each.token, 1, b"1 ", 1, [b"0 info x"]) for each in (a, b, c)]
    assert await bench.run(note(bench.keys, notes, most_lines=9, most_bytes=999)) == 1
    assert await texts_of(bench) == ["x"]


async def test_a_job_that_nobody_knows_has_no_log(bench: Bench) -> None:
    assert await bench.run(job_log(bench.keys, "a")) is None


async def test_with_no_lines_allowed_no_log_is_kept(bench: Bench) -> None:
    entry = await held(bench)
    assert await say(bench, entry, "one", progress=b"0.5 half", most_lines=0) == 1
    assert await texts_of(bench) == []
    assert "progress" in await bench.record("a")
