"""quarantine: an entry that nothing can process goes to the dead stream, alone, with its raw bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.conformance.bench import TTL_MS, Bench, job

from microbatch.common.codec import decode
from microbatch.common.scripts import Fault, quarantine

if TYPE_CHECKING:
    from microbatch.common.jobs.entry import Entry

FAULT = Fault("ProtocolError", "not msgpack")


async def _quarantine(bench: Bench, entry: Entry, *, keep: int = 100) -> bool:
    return await bench.run(
        quarantine(bench.keys, ("w1", "b1"), entry, FAULT, ttl_ms=TTL_MS, dead_max_length=keep)
    )


async def _dead(bench: Bench) -> list[dict[bytes, Any]]:
    return [fields for _, fields in await bench.raw.xrange(bench.keys.dead)]


async def test_a_bad_job_fails_alone_and_its_client_is_told(bench: Bench) -> None:
    await bench.submit("bad", "good")
    bad, good = await bench.take("b1")
    async with bench.listening(bench.keys.reply_channel("c1")) as client:
        assert await _quarantine(bench, bad)
        ((local, state, error),) = await client.fragments()
    assert (local, state, error["type"]) == ("bad", "failed", "ProtocolError")
    assert decode((await bench.record("bad"))["error"])["message"] == "not msgpack"
    assert await bench.settle("b1", [good]) is None
    assert await bench.lengths() == await bench.pending() == await bench.batches() == {}


async def test_the_dead_letter_says_what_and_why(bench: Bench) -> None:
    await bench.submit("bad")
    (bad,) = await bench.take("b1")
    await _quarantine(bench, bad)
    (letter,) = await _dead(bench)
    assert letter[b"dead_token"] == bad.token.encode()
    assert letter[b"dead_worker"] == b"w1"
    error = decode(letter[b"dead_error"])
    assert (error["type"], error["message"]) == ("ProtocolError", "not msgpack")
    assert (letter[b"id"], letter[b"payload"]) == (b"bad", bad.payload)
    assert (await bench.queue()).dead == 1


async def test_a_second_call_does_nothing(bench: Bench) -> None:
    await bench.submit("bad")
    (bad,) = await bench.take("b1")
    await _quarantine(bench, bad)
    before = await bench.record("bad")
    assert not await _quarantine(bench, bad)
    assert len(await _dead(bench)) == 1
    assert await bench.record("bad") == before


async def test_a_foreign_entry_is_kept_raw_and_touches_no_record(bench: Bench) -> None:
    await bench.raw.xadd(bench.keys.lane("main"), {"hello": b"\xff\x00"})
    (entry,) = await bench.take("b1")
    assert await _quarantine(bench, entry)
    assert (await _dead(bench))[0][b"hello"] == b"\xff\x00"
    assert await bench.raw.keys(bench.keys.job("*")) == []
    assert await bench.pending() == {}


async def test_a_foreign_entry_with_thousands_of_fields_is_cut(bench: Bench) -> None:
    fields: dict[Any, Any] = {f"f{n}": "x" for n in range(9_000)}
    await bench.raw.xadd(bench.keys.lane("main"), fields)
    (entry,) = await bench.take("b1")
    assert await _quarantine(bench, entry)
    assert len((await _dead(bench))[0]) == 8 + 32
    assert await bench.lengths() == {}


async def test_a_stray_copy_is_quarantined_without_failing_the_job(bench: Bench) -> None:
    await bench.submit("a")
    ((_, fields),) = await bench.raw.xrange(bench.keys.lane("main"))
    await bench.raw.xadd(bench.keys.lane("main"), fields)
    original, copy = await bench.take("b1")
    assert await _quarantine(bench, copy)
    assert await bench.settle("b1", [original]) is None


async def test_a_record_of_the_wrong_type_costs_only_its_own_entry(bench: Bench) -> None:
    await bench.submit("a")
    (entry,) = await bench.take("b1")
    await bench.raw.set(bench.keys.job("a"), "foreign")
    assert await _quarantine(bench, entry)
    assert await bench.raw.get(bench.keys.job("a")) == b"foreign"
    assert await bench.pending() == {}


async def test_the_jobs_own_time_to_live_wins(bench: Bench) -> None:
    await bench.submit(job("a", ttl_ms="5000000"))
    (entry,) = await bench.take("b1")
    await _quarantine(bench, entry)
    assert await bench.raw.pttl(bench.keys.job("a")) > TTL_MS


async def test_the_dead_stream_is_bounded(real_bench: Bench) -> None:
    for start in range(0, 600, 100):
        await real_bench.submit(*(f"j{start + n}" for n in range(100)))
        for entry in await real_bench.take(f"b{start}", size=100):
            await _quarantine(real_bench, entry, keep=50)
    assert await real_bench.raw.xlen(real_bench.keys.dead) <= 50 + 200
