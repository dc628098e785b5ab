"""cancel beside keys that hold something else: a job ends, or is told as out of reach and stays as it is."""

from __future__ import annotations

import pytest
from tests.conformance.bench import TTL_MS, Bench, job

from microbatch.common.scripts import cancel_all

JOBS = ("main", "running", "side", "side-running", "later")
KEYS = (
    *(
        "lane:main",
        "lane:7/k",
        "lanes",
        "forming",
        "held",
        "ageing",
        "aged",
        "ranks",
        "ready:7",
        "ready:aged",
    ),
    *("side", "scheduled", "tombstones", "batches:w1", "watchers", "listeners", "unique", "workers", "idle"),
    *("job:main", "job:side", "job:side-running", "job:later", "watcher", "limits", "gate"),
)


async def _fill(bench: Bench) -> None:
    await bench.submit("running")
    await bench.take("b1")
    await bench.submit(job("side-running", priority=7, batch_key="k"))
    await bench.take("b2")
    await bench.submit("main", job("side", priority=7, batch_key="k"), job("later", delay_ms=100_000))


async def _stored(bench: Bench, local: str) -> object:
    key = bench.keys.job(local)
    return await (bench.raw.get(key) if await bench.raw.type(key) == b"string" else bench.raw.hgetall(key))


@pytest.mark.parametrize("name", KEYS)
async def test_one_broken_key_keeps_no_other_job_from_being_cancelled(bench: Bench, name: str) -> None:
    await _fill(bench)
    await bench.raw.delete(bench.keys.prefix + name)
    await bench.raw.set(bench.keys.prefix + name, "foreign")
    before = {local: await _stored(bench, local) for local in JOBS}
    states = await bench.run(cancel_all(bench.keys, JOBS, ttl_ms=TTL_MS))
    told = dict(zip(JOBS, states, strict=True))
    assert set(told.values()) <= {"cancelled", "foreign"}
    for local, answer in told.items():
        if answer == "cancelled":
            assert (await bench.record(local))["state"] == b"cancelled"
        else:
            assert await _stored(bench, local) == before[local]


async def test_what_was_in_a_lane_that_is_broken_does_not_keep_its_dead_worker(bench: Bench) -> None:
    await _fill(bench)
    await bench.alone("b2")
    await bench.raw.set(bench.keys.lane("7/k"), "foreign")
    await bench.die("w1")
    assert (await bench.takeover("w1")).moved == 1
    assert await bench.raw.zscore(bench.keys.workers, "w1") is None
    view = await bench.status("side-running")
    assert view is not None
    assert view.record[b"state"] == b"failed"


@pytest.mark.parametrize("parked", [b"-3:abc", b"-inf:a", b"3", b"", b"2:id-9:x"])
async def test_what_somebody_wrote_in_the_place_of_a_parked_job_ends_no_call(
    bench: Bench, parked: bytes
) -> None:
    await bench.submit(job("later", delay_ms=100_000))
    await bench.raw.hset(bench.keys.job("later"), mapping={"parked": parked, "history": parked})
    assert await bench.cancel("later") == "cancelled"
