"""The queue before each call of the replay table, and what may happen before a late execution of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.conformance.bench import DEAD_MAX_LENGTH, LIMIT_MS, LONG_MS, OK, TTL_MS, Bench, job

from microbatch.common import scripts
from microbatch.common.codec import encode
from microbatch.common.schedules.schedule import Definition, Schedule
from microbatch.common.scripts import BatchFacts, Call, CrashTerms, Fault, JobNote, Outcome

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from microbatch.common.scripts import NewJob
    from microbatch.common.scripts.settle import Ending

OTHER = encode("another outcome")

# --- stages: the queue before the call -----------------------------------------------------------------


async def to_submit(bench: Bench) -> Call[Any]:
    return scripts.submit(bench.keys, "c1", [job("a")], max_queue_length=100)


async def to_submit_unique(bench: Bench) -> Call[Any]:
    return scripts.submit(bench.keys, "c1", [job("a", unique="key")], max_queue_length=100)


async def to_claim(bench: Bench) -> Call[Any]:
    await bench.submit("a", "b")
    return scripts.claim(bench.keys, "w1", "b1", max_batch_size=8, max_wait_ms=0, max_batch_bytes=1 << 20)


def _keyed(*locals_: str) -> list[NewJob]:
    return [job(local, batch_key="k", priority=3) for local in locals_]


async def to_submit_to_a_lane(bench: Bench) -> Call[Any]:
    return scripts.submit(bench.keys, "c1", _keyed("a"), max_queue_length=100)


async def to_claim_from_a_lane(bench: Bench) -> Call[Any]:
    await bench.submit(*_keyed("a", "b"))
    return scripts.claim(bench.keys, "w1", "b1", max_batch_size=8, max_wait_ms=0, max_batch_bytes=1 << 20)


async def to_claim_within_limits(bench: Bench) -> Call[Any]:
    await bench.raw.hset(bench.keys.limits, mapping={"jobs_per_s": "0.01", "burst_s": "200"})
    return await to_claim_from_a_lane(bench)


async def to_settle_from_a_lane(bench: Bench) -> Call[Any]:
    await bench.submit(*_keyed("a"))
    facts = BatchFacts("w1", "b1", "wait", 1, await bench.now_ms())
    outcomes = [Outcome(entry, "succeeded", OK) for entry in await bench.take("b1")]
    return scripts.settle(bench.keys, facts, outcomes, ttl_ms=TTL_MS, dead_max_length=DEAD_MAX_LENGTH)


async def to_release_to_a_lane(bench: Bench) -> Call[Any]:
    await bench.submit(*_keyed("a"))
    await bench.take("b1")
    return scripts.release(bench.keys, "w1", "b1", ran=True)


async def _held(bench: Bench) -> Any:
    await bench.submit("a")
    (entry,) = await bench.take("b1")
    return entry


def to_settle(state: Ending) -> Callable[[Bench], Awaitable[Call[Any]]]:
    async def stage(bench: Bench) -> Call[Any]:
        entry = await _held(bench)
        facts = BatchFacts("w1", "b1", "wait", 1, await bench.now_ms())
        outcomes = [Outcome(entry, state, OK, int(LONG_MS) if state == "retry" else 0)]
        return scripts.settle(bench.keys, facts, outcomes, ttl_ms=TTL_MS, dead_max_length=DEAD_MAX_LENGTH)

    return stage


async def to_release(bench: Bench) -> Call[Any]:
    await _held(bench)
    return scripts.release(bench.keys, "w1", "b1", ran=True)


async def to_note(bench: Bench) -> Call[Any]:
    entry = await _held(bench)
    notes = [JobNote("a", entry.token, 1, b"", 1, [b"5 info working"])]
    return scripts.note(bench.keys, notes, most_lines=9, most_bytes=9_999)


async def to_listen(bench: Bench) -> Call[Any]:
    await bench.submit("a")
    return scripts.listen(bench.keys, ["a"])


async def to_read_a_log(bench: Bench) -> Call[Any]:
    await bench.run(await to_note(bench))
    return scripts.job_log(bench.keys, "a")


async def to_run_alone(bench: Bench) -> Call[Any]:
    await _held(bench)
    return scripts.run_alone(bench.keys, "w1", "b1")


async def to_quarantine(bench: Bench) -> Call[Any]:
    entry = await _held(bench)
    fault = Fault("ProtocolError", "nothing can read it")
    return scripts.quarantine(
        bench.keys, ("w1", "b1"), entry, fault, ttl_ms=TTL_MS, dead_max_length=DEAD_MAX_LENGTH
    )


async def to_take_over(bench: Bench) -> Call[Any]:
    await _held(bench)
    await bench.die("w1")
    terms = CrashTerms(2, TTL_MS, DEAD_MAX_LENGTH)
    return scripts.takeover(bench.keys, "w9", "w1", heartbeat_limit_ms=LIMIT_MS, terms=terms)


async def to_beat(bench: Bench) -> Call[Any]:
    await _held(bench)
    return scripts.heartbeat(
        bench.keys, "w1", ["b1"], heartbeat_limit_ms=LIMIT_MS, stale_claim_ms=5_000, idle=False
    )


async def to_join(bench: Bench) -> Call[Any]:
    return scripts.join(bench.keys, "w1", max_batch_size=8, max_wait_ms=5)


async def run_elsewhere(bench: Bench) -> None:
    await bench.run(scripts.pace(bench.keys, (1, 1, 1, 1, 1), half_life_ms=10**9))


async def to_pace(bench: Bench) -> Call[Any]:
    return scripts.pace(bench.keys, (1, 10, 5, 100, 50), half_life_ms=10**9)


async def to_leave(bench: Bench) -> Call[Any]:
    await bench.beat("w1")
    return scripts.step_aside(bench.keys, "w1", leaving=True)


async def to_await(bench: Bench) -> Call[Any]:
    await bench.submit("a")
    return scripts.await_results(bench.keys, "c2", ["a"], register=True, check=True)


async def to_look(bench: Bench) -> Call[Any]:
    await bench.submit("a")
    return scripts.job_status(bench.keys, "a")


async def to_look_at_queue(bench: Bench) -> Call[Any]:
    await bench.submit("a")
    return scripts.queue_status(bench.keys, heartbeat_limit_ms=LIMIT_MS)


async def to_ask_the_time(bench: Bench) -> Call[Any]:
    return scripts.redis_time(bench.keys)


async def to_cancel(bench: Bench) -> Call[Any]:
    await bench.submit("a")
    return scripts.cancel(bench.keys, "a", ttl_ms=TTL_MS)


async def _letter(bench: Bench) -> str:
    entry = await _held(bench)
    await bench.settle("b1", [entry], succeeded=False)
    ((letter_id, _),) = await bench.raw.xrange(bench.keys.dead)
    found: str = letter_id.decode()
    return found


async def to_redrive(bench: Bench) -> Call[Any]:
    return scripts.redrive(bench.keys, [await _letter(bench)])


async def to_purge(bench: Bench) -> Call[Any]:
    return scripts.purge_dead(bench.keys, [await _letter(bench)])


async def to_read_letters(bench: Bench) -> Call[Any]:
    await _letter(bench)
    return scripts.dead_letters(bench.keys)


def _definition(every_s: float = 3_600) -> Definition:
    return Schedule("s", queue="q", every_s=every_s).definition()


async def to_look_at_workers(bench: Bench) -> Call[Any]:
    await bench.submit("a")
    await bench.take("b1")
    return scripts.fleet(bench.keys)


async def to_put_a_schedule(bench: Bench) -> Call[Any]:
    return scripts.schedule_put(bench.keys, "s", _definition(), source="code")


async def to_read_schedules(bench: Bench) -> Call[Any]:
    await bench.run(await to_put_a_schedule(bench))
    return scripts.schedules(bench.keys)


async def to_advance_a_schedule(bench: Bench) -> Call[Any]:
    ((view,),) = (await bench.run(await to_read_schedules(bench)))[1:]
    tick = await bench.now_ms() + int(LONG_MS)
    put = [scripts.TickJob(tick, "a", b"\x80")]
    return scripts.schedule_advance(bench.keys, view, put=put, take_back=[], last_ms=tick, look_ms=tick)


async def to_pause_a_schedule(bench: Bench) -> Call[Any]:
    await bench.run(await to_put_a_schedule(bench))
    return scripts.schedule_change(bench.keys, "s", "pause")


async def to_pause(bench: Bench) -> Call[Any]:
    return scripts.hold(bench.keys, "pause", "me@here")


async def to_drain(bench: Bench) -> Call[Any]:
    return scripts.hold(bench.keys, "drain", "me@here")


async def to_purge_jobs(bench: Bench) -> Call[Any]:
    await bench.submit("a")
    return scripts.purge(bench.keys)


async def to_limit(bench: Bench) -> Call[Any]:
    return scripts.limit(bench.keys, {"max_batch_size": "8", "max_wait_ms": ""})


# --- moves: what happens before a late execution ----------------------------------------------------------


async def nothing(_: Bench) -> None:
    pass


async def end_the_job(bench: Bench) -> None:
    """Another worker takes it and settles it with another outcome."""
    entries = await bench.take("b2", "w2")
    await bench.settle("b2", entries, "w2", value=OTHER)


async def give_back(bench: Bench) -> None:
    await bench.release("b1")


async def hand_over(bench: Bench) -> None:
    await bench.die("w1")
    await bench.takeover("w1", "w2")


async def hand_over_and_end(bench: Bench) -> None:
    await hand_over(bench)
    await end_the_job(bench)


async def cancel_it(bench: Bench) -> None:
    await bench.run(scripts.cancel(bench.keys, "a", ttl_ms=TTL_MS))


async def take_the_key(bench: Bench) -> None:
    """Another job got it meanwhile, and runs."""
    await bench.submit(job("z", unique="key"))
    await bench.take("b7", "w7")


async def remove_the_schedule(bench: Bench) -> None:
    await bench.run(scripts.schedule_change(bench.keys, "s", "remove"))


async def resume_the_schedule(bench: Bench) -> None:
    await bench.run(scripts.schedule_change(bench.keys, "s", "resume"))


async def put_another_schedule(bench: Bench) -> None:
    await bench.run(scripts.schedule_put(bench.keys, "s", _definition(7_200), source="code"))


async def resume(bench: Bench) -> None:
    await bench.run(scripts.hold(bench.keys, "resume", "somebody"))


async def submit_another(bench: Bench) -> None:
    await bench.submit("z")


async def unlimit(bench: Bench) -> None:
    await bench.run(scripts.limit(bench.keys, {"max_batch_size": ""}))


async def promote_and_end(bench: Bench) -> None:
    await bench.make_due("a")
    await end_the_job(bench)


async def purge(bench: Bench) -> None:
    await bench.run(scripts.purge_dead(bench.keys))


async def end_the_batch(bench: Bench) -> None:
    """The worker has settled it, and another job has come."""
    await bench.settle("b1", await bench.take("b1"))
    await bench.submit("c")


async def end_and_start_anew(bench: Bench) -> None:
    """The record is past its time, and its id is used again."""
    await bench.raw.delete(bench.keys.job("a"))
    await bench.submit("a", client="c7")


async def come_back(bench: Bench) -> None:
    await bench.beat("w1")


async def leave(bench: Bench) -> None:
    await bench.release("b1")
    await bench.settle("b2", await bench.take("b2", "w2"), "w2")
    await bench.step_aside("w1", leaving=True)


async def leave_at_once(bench: Bench) -> None:
    await bench.step_aside("w1", leaving=True)
