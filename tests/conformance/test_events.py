"""events: what scripts tell those who listen, and that they tell nothing where nobody does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.conformance.bench import job

from microbatch.common.codec import encode_error
from microbatch.common.scripts import EVERYTHING, JobNote, listen, note
from microbatch.producer.watching import parse_message

if TYPE_CHECKING:
    from tests.conformance.bench import Bench, Heard

    from microbatch.common.jobs.update import JobUpdate


async def told(heard: Heard) -> list[JobUpdate]:
    return [update for message in await heard.all() for update in parse_message("q", message)]


async def events(heard: Heard) -> list[tuple[str, str, int]]:
    return [(update.id, update.event, update.attempt) for update in await told(heard)]


async def test_a_queues_listener_hears_everything_from_submit_to_end(bench: Bench) -> None:
    await bench.run(listen(bench.keys, [EVERYTHING]))
    async with bench.listening(bench.keys.events_channel()) as heard:
        await bench.submit("a", "b", job("later", delay_ms="500000"))
        assert await events(heard) == [
            *[("q/a", "submitted", 0), ("q/b", "submitted", 0), ("q/later", "scheduled", 0)]
        ]
        entries = await bench.take("b1")
        first, second = await told(heard)
        assert (first.id, first.event, first.attempt, first.worker) == ("q/a", "claimed", 1, "w1")
        assert (second.batch_id, second.batch_size, second.reason) == ("b1", 2, "wait")
        await bench.settle("b1", entries[:1], close=False)
        error = encode_error("ValueError", "no")
        await bench.settle("b1", entries[1:], succeeded=False, value=error)
        done, failed = await told(heard)
        assert (done.id, done.event, done.batch_id, done.error) == ("q/a", "succeeded", "b1", None)
        assert failed.error is not None
        assert (failed.event, failed.error.type, failed.error.message) == ("failed", "ValueError", "no")
        await bench.make_due("later")
        await bench.take("b2")
        assert await events(heard) == [("q/later", "promoted", 0), ("q/later", "claimed", 1)]
        await bench.cancel("later")
        assert await events(heard) == [("q/later", "cancelled", 0)]


async def test_moves_retries_and_redrives_are_told(bench: Bench) -> None:
    await bench.submit("a")
    await bench.run(listen(bench.keys, [EVERYTHING]))
    async with bench.listening(bench.keys.events_channel()) as heard:
        await bench.take("b1")
        await bench.release("b1")
        await bench.take("b2", "w2")
        await bench.die("w2")
        await bench.takeover("w2")
        await bench.retry("b3", await bench.take("b3", "w3"), "w3")
        await bench.settle("b4", await bench.take("b4"), succeeded=False)
        ((letter, _),) = await bench.raw.xrange(bench.keys.dead)
        await bench.redrive(letter.decode())
        assert [event for _, event, _ in await events(heard)] == [
            *("claimed", "handed back", "claimed", "taken over", "claimed", "retried"),
            *("promoted", "claimed", "failed", "redriven"),
        ]


async def test_who_listens_to_one_job_hears_of_that_one_only(bench: Bench) -> None:
    await bench.run(listen(bench.keys, ["b"]))
    async with (
        bench.listening(bench.keys.events_channel("b")) as one,
        bench.listening(bench.keys.events_channel("a")) as other,
        bench.listening(bench.keys.events_channel()) as everything,
    ):
        await bench.submit("a", "b")
        await bench.settle("b1", await bench.take("b1"))
        assert [event for _, event, _ in await events(one)] == ["submitted", "claimed", "succeeded"]
        assert await other.all() == await everything.all() == []


async def test_progress_and_lines_are_told(bench: Bench) -> None:
    await bench.submit("a")
    (entry,) = await bench.take("b1")
    await bench.run(listen(bench.keys, [EVERYTHING]))
    async with bench.listening(bench.keys.events_channel()) as heard:
        said = JobNote("a", entry.token, 1, b"0.5 half of it", 2, [b"0 info one", b"0 error two"])
        call = note(bench.keys, [said], most_lines=9, most_bytes=999)
        await bench.run(call)
        progress, *lines = await told(heard)
        assert progress.progress is not None
        assert (progress.progress.fraction, progress.progress.text) == (0.5, "half of it")
        assert [(line.line.level, line.line.text) for line in lines if line.line] == [
            *[("info", "one"), ("error", "two")]
        ]


async def test_nothing_is_told_where_nobody_listens_any_more(bench: Bench) -> None:
    await bench.raw.hset(bench.keys.listeners, EVERYTHING, "1")
    async with bench.listening(bench.keys.events_channel()) as heard:
        await bench.submit("a")
        await bench.settle("b1", await bench.take("b1"))
        assert await heard.all() == []
    await bench.run(listen(bench.keys, ["x"], lease_ms=60_000))
    assert await bench.raw.hkeys(bench.keys.listeners) == [b"x"]
    assert 0 < await bench.raw.pttl(bench.keys.listeners) <= 60_000
    await bench.run(listen(bench.keys, ["y"], lease_ms=5_000))
    assert await bench.raw.pttl(bench.keys.listeners) > 5_000


async def test_a_broken_list_of_listeners_stops_no_work(bench: Bench) -> None:
    await bench.raw.set(bench.keys.listeners, "oops")
    await bench.submit("a")
    assert await bench.settle("b1", await bench.take("b1")) is None
    assert (await bench.record("a"))["state"] == b"succeeded"


async def test_many_events_of_one_call_come_in_messages_of_bounded_size(bench: Bench) -> None:
    await bench.run(listen(bench.keys, [EVERYTHING]))
    async with bench.listening(bench.keys.events_channel()) as heard:
        await bench.submit(*(f"j{n}" for n in range(200)))
        entries = await bench.take("b1", size=200)
        await heard.all()
        await bench.settle(
            "b1", entries, succeeded=False, value=encode_error("E", "x" * 4_000), ttl_ms=60_000
        )
        messages = await heard.all()
        assert sum(len(parse_message("q", message)) for message in messages) == 200
        assert all(len(message) < 200_000 for message in messages)
