"""The history in a record: what a plain job never pays for, and one that moved or failed can be asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.conformance.bench import TTL_MS, job

from microbatch.common.codec import encode_error
from microbatch.common.jobs.status import JobStatus, parse_status
from microbatch.common.scripts import BatchFacts, Outcome, settle

if TYPE_CHECKING:
    from tests.conformance.bench import Bench


async def _status(bench: Bench, local: str = "a") -> JobStatus:
    view = await bench.status(local)
    assert view is not None
    return parse_status(f"q/{local}", view)


async def _steps(bench: Bench, local: str = "a") -> list[tuple[str, int, str | None]]:
    """Event, attempt and batch of each step, once their times are seen to be in order."""
    steps = (await _status(bench, local)).timeline
    times = [step.at for step in steps if step.at is not None]
    assert times == sorted(times)
    return [(step.event, step.attempt, step.batch_id) for step in steps]


async def test_a_plain_job_has_no_history_and_tells_its_story_all_the_same(bench: Bench) -> None:
    await bench.submit("a")
    assert await _steps(bench) == [("submitted", 0, None)]
    entries = await bench.take("b1")
    assert await _steps(bench) == [("submitted", 0, None), ("claimed", 1, "b1")]
    await bench.settle("b1", entries)
    assert await _steps(bench) == [("submitted", 0, None), ("claimed", 1, "b1"), ("succeeded", 1, "b1")]
    assert "history" not in await bench.record("a")


async def test_a_retry_tells_its_error_and_the_batch_in_which_it_failed(bench: Bench) -> None:
    await bench.submit("a")
    (entry,) = await bench.take("b1")
    error = encode_error("ValueError", "no", "Traceback\n" * 500)
    facts = BatchFacts("w1", "b1", "wait", 1, await bench.now_ms())
    outcome = Outcome(entry, "retry", error, 0)
    await bench.run(settle(bench.keys, facts, [outcome], ttl_ms=TTL_MS, dead_max_length=9))
    await bench.make_due("a")
    await bench.settle("b2", await bench.take("b2", "w2"), "w2")

    status = await _status(bench)
    assert [step.event for step in status.timeline] == [
        *("submitted", "claimed", "retried", "promoted", "claimed", "succeeded")
    ]
    retried = status.timeline[2]
    assert (retried.worker, retried.batch_id, retried.batch_size, retried.reason) == ("w1", "b1", 1, "wait")
    assert retried.error is not None
    assert (retried.error.type, retried.error.message) == ("ValueError", "no")
    assert [step.attempt for step in status.timeline] == [0, 1, 1, 1, 2, 2]


async def test_a_delayed_job_was_scheduled_before_it_was_queued(bench: Bench) -> None:
    await bench.submit(job("a", delay_ms="500000"))
    assert await _steps(bench) == [("scheduled", 0, None)]
    await bench.make_due("a")
    await bench.take("b1")
    assert [event for event, _, _ in await _steps(bench)] == ["scheduled", "promoted", "claimed"]


async def test_a_delayed_job_that_is_cancelled_was_never_queued(bench: Bench) -> None:
    await bench.submit(job("a", delay_ms="500000"))
    await bench.cancel("a")
    assert [event for event, _, _ in await _steps(bench)] == ["scheduled", "cancelled"]


async def test_a_job_that_is_handed_back_and_taken_over_tells_by_whom(bench: Bench) -> None:
    await bench.submit("a")
    await bench.take("b1")
    await bench.release("b1")
    await bench.take("b2", "w2")
    await bench.die("w2")
    await bench.takeover("w2")
    await bench.settle("b3", await bench.take("b3", "w3"), "w3")

    status = await _status(bench)
    assert [(step.event, step.worker) for step in status.timeline] == [
        ("submitted", None),
        *[("claimed", "w1"), ("handed back", "w1"), ("claimed", "w2"), ("taken over", "w2")],
        *[("claimed", "w3"), ("succeeded", "w3")],
    ]
    assert [step.attempt for step in status.timeline] == [0, 1, 1, 1, 1, 2, 2]


async def test_a_redriven_job_begins_its_story_anew(bench: Bench) -> None:
    await bench.submit("a")
    await bench.settle("b1", await bench.take("b1"), succeeded=False, value=encode_error("E", ""))
    ((letter, _),) = await bench.raw.xrange(bench.keys.dead)
    await bench.redrive(letter.decode())
    await bench.take("b2")
    assert await _steps(bench) == [("redriven", 0, None), ("claimed", 1, "b2")]


async def test_a_history_keeps_the_last_two_dozen_events(bench: Bench) -> None:
    await bench.submit("a")
    for turn in range(30):
        await bench.take(f"b{turn}")
        await bench.release(f"b{turn}")
    steps = await _steps(bench)
    assert [batch for event, _, batch in steps if event == "handed back"] == [f"b{n}" for n in range(6, 30)]


async def test_a_history_that_somebody_broke_is_begun_anew(bench: Bench) -> None:
    await bench.submit("a")
    await bench.raw.hset(bench.keys.job("a"), "history", "oops")
    await bench.take("b1")
    await bench.release("b1")
    assert [event for event, _, _ in await _steps(bench)] == ["submitted", "claimed", "handed back"]


async def test_the_batch_of_a_job_says_why_it_was_batched_so(bench: Bench) -> None:
    await bench.submit("a", "b")
    entries = await bench.take("b1")
    now_ms = await bench.now_ms()
    facts = BatchFacts("w1", "b1", "wait", 2, now_ms, 17)
    outcomes = [Outcome(entry, "succeeded", b"\xc0") for entry in entries]

    running = (await _status(bench)).batch
    await bench.run(settle(bench.keys, facts, outcomes, ttl_ms=TTL_MS, dead_max_length=9))
    batch = (await _status(bench)).batch

    assert running is not None
    assert (running.batch_id, running.batch_size, running.worker, running.run_ms) == ("b1", 2, "w1", None)
    assert running.reason == "wait"
    assert batch is not None
    assert (batch.batch_id, batch.batch_size, batch.reason, batch.worker) == ("b1", 2, "wait", "w1")
    assert batch.waited_ms == 17
    assert batch.queued_ms is not None
    assert batch.queued_ms >= 0
    assert batch.run_ms is not None
    assert batch.run_ms >= 0


async def test_each_settled_batch_is_told_once(bench: Bench) -> None:
    await bench.submit("a", "b")
    entries = await bench.take("b1")
    await bench.settle("b1", entries[:1], close=False)
    await bench.settle("b1", entries[1:])
    await bench.settle("b1", entries[1:])  # the same call again

    ((_, fields),) = await bench.raw.xrange(bench.keys.recent)
    assert fields[b"batch"].startswith(b"b1 1 wait ")


async def test_the_stream_of_batches_is_bounded(real_bench: Bench) -> None:
    await real_bench.submit(*(f"j{turn}" for turn in range(1_200)))
    for turn in range(1_200):
        await real_bench.settle(f"b{turn}", await real_bench.take(f"b{turn}", size=1))
    assert await real_bench.raw.xlen(real_bench.keys.recent) < 1_200


async def test_a_broken_stream_of_batches_costs_no_job_its_result(bench: Bench) -> None:
    await bench.raw.set(bench.keys.recent, "oops")
    await bench.submit("a")
    assert await bench.settle("b1", await bench.take("b1")) is None
    assert (await bench.record("a"))["state"] == b"succeeded"
