"""`fleet`: who works for a queue and what each holds, on every engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.conformance.bench import LONG_MS

from microbatch.common import scripts
from microbatch.common.worker_facts import WorkerFacts

if TYPE_CHECKING:
    from tests.conformance.bench import Bench

    from microbatch.common.scripts import WorkerSight


async def look(bench: Bench, limit: int = 100) -> dict[str, WorkerSight]:
    fleet = await bench.run(scripts.fleet(bench.keys, limit=limit))
    return {sight.worker: sight for sight in fleet.workers}


async def test_of_an_unused_queue_nobody_is_seen_and_nothing_is_left(bench: Bench) -> None:
    assert await look(bench) == {}
    assert await bench.raw.dbsize() == 0


async def test_each_worker_is_seen_with_what_it_holds(bench: Bench) -> None:
    await bench.submit("a", "b", "c", "d")
    await bench.take("b1", size=2)
    await bench.take("b2", size=1)
    await bench.take("b3", "w2", size=1)
    seen = await look(bench)
    held = {worker: (sight.batches, sight.jobs, sight.doing) for worker, sight in seen.items()}
    assert held == {"w1": (2, 3, ""), "w2": (1, 1, "")}
    assert all(0 <= sight.silent_s < 60 for sight in seen.values())


async def test_who_waits_for_a_batch_to_fill_watches_and_who_found_nothing_is_idle(bench: Bench) -> None:
    await bench.submit("a")
    for worker in ("w1", "w2"):
        await bench.beat(worker)
        await bench.claim("b" + worker, worker, size=9, wait_ms=LONG_MS)
    assert {worker: sight.doing for worker, sight in (await look(bench)).items()} == {
        "w1": "watching",
        "w2": "idle",
    }


async def test_of_many_workers_those_that_beat_last_are_seen(bench: Bench) -> None:
    for worker in ("w1", "w2", "w3"):
        await bench.beat(worker)
    await bench.die("w2")
    assert set(await look(bench, limit=2)) == {"w1", "w3"}
    assert (await look(bench))["w2"].silent_s > 1


async def test_a_worker_is_seen_with_what_it_says_about_itself_until_it_leaves_or_is_taken_over(
    bench: Bench,
) -> None:
    facts = WorkerFacts("1.2", "quiet", 4, ("gpu", "eu"))
    for worker in ("w1", "w2"):
        await bench.beat(worker, about=facts.text())
    await bench.beat("w3")
    assert {worker: sight.facts for worker, sight in (await look(bench)).items()} == {
        "w1": facts,
        "w2": facts,
        "w3": WorkerFacts(),
    }

    await bench.step_aside("w1", leaving=True)
    await bench.die("w2")
    await bench.takeover("w2")
    assert not await bench.raw.exists(bench.keys.about)


async def test_what_nobody_says_any_more_goes_and_who_lives_says_it_again(bench: Bench) -> None:
    await bench.raw.hset(bench.keys.about, mapping={f"gone{n}": "version=1" for n in range(9)})
    await bench.beat("w1", about="version=2", thorough=True)
    assert await bench.raw.hgetall(bench.keys.about) == {b"w1": b"version=2"}


async def test_keys_that_something_else_overwrote_hold_nothing(bench: Bench) -> None:
    await bench.submit("a")
    await bench.take("b1")
    for name in ("batches:w1", "idle", "watcher", "about"):
        await bench.raw.delete(bench.keys.prefix + name)
        await bench.raw.lpush(bench.keys.prefix + name, "ours now")
    sight = (await look(bench))["w1"]
    assert (sight.batches, sight.jobs, sight.doing, sight.facts) == (0, 0, "", WorkerFacts())
    await bench.raw.set(bench.keys.prefix + "workers", "ours now")
    assert await look(bench) == {}
