"""A server at its memory limit refuses new jobs and still lets everything else drain."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.conformance.bench import LONG_MS, Bench

from microbatch.common.errors import ServerFull
from microbatch.common.keys import LANES
from microbatch.common.scripts import Fault, Idle, Watch, await_results, join, quarantine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def full(real_bench: Bench) -> AsyncIterator[Bench]:
    """A queue with six jobs on a server that is full afterwards."""
    await real_bench.submit(*(f"j{n}" for n in range(6)))
    await real_bench.raw.config_set("maxmemory-policy", "noeviction")
    yield real_bench
    await real_bench.raw.config_set("maxmemory", 0)


async def _fill_up(bench: Bench) -> None:
    await bench.raw.config_set("maxmemory", 1)
    await bench.raw.script_flush()  # loading a script must be possible too


async def test_submit_is_refused_and_accepts_nothing(full: Bench) -> None:
    await _fill_up(full)
    with pytest.raises(ServerFull):
        await full.submit("new")
    assert await full.record("new") == {}
    assert await full.lengths() == {"main": 6}


async def test_the_first_submit_of_a_queue_is_refused_and_leaves_nothing(real_bench: Bench) -> None:
    await real_bench.raw.config_set("maxmemory", 1)
    with pytest.raises(ServerFull):
        await real_bench.submit("new")
    assert await real_bench.raw.keys("*") == []


async def test_a_known_job_is_still_recognised(full: Bench) -> None:
    await _fill_up(full)
    assert (await full.submit("j0")).codes is not None


async def test_claim_and_settle_work(full: Bench) -> None:
    await _fill_up(full)
    assert await full.settle("b1", await full.take("b1")) is None
    assert (await full.record("j0"))["state"] == b"succeeded"
    assert await full.claim("b2") == Idle()


async def test_a_repeated_claim_and_a_watch_work(full: Bench) -> None:
    await _fill_up(full)
    assert isinstance(await full.claim("b1", size=9, wait_ms=LONG_MS), Watch)
    tokens = [entry.token for entry in await full.take("b1", size=2)]
    assert [entry.token for entry in await full.take("b1", size=2)] == tokens


async def test_late_settles_and_replays_work(full: Bench) -> None:
    entries = await full.take("b1")
    await full.settle("b1", entries)
    await _fill_up(full)
    assert len(await full.settle("b1", entries) or []) == 6


async def test_release_works(full: Bench) -> None:
    await full.take("b1")
    await _fill_up(full)
    assert (await full.release("b1")).moved == 6


async def test_takeover_works(full: Bench) -> None:
    await full.take("b1")
    await full.die("w1")
    await _fill_up(full)
    assert (await full.takeover("w1")).moved == 6


async def test_a_takeover_that_fails_a_job_works(full: Bench) -> None:
    await full.take("b1", size=1)
    await full.die("w1")
    await _fill_up(full)
    assert await full.alone("b1")
    assert (await full.takeover("w1", max_crashes=1)).failed == 1


async def test_heartbeat_and_join_work(full: Bench) -> None:
    await _fill_up(full)
    assert (await full.beat("w1", idle=True)).work_waits
    await full.run(join(full.keys, "w2", max_batch_size=1, max_wait_ms=1))
    assert (await full.queue()).workers == 2


async def test_joining_an_unused_queue_works(real_bench: Bench) -> None:
    await real_bench.raw.config_set("maxmemory", 1)
    await real_bench.run(join(real_bench.keys, "w1", max_batch_size=1, max_wait_ms=1))
    assert (await real_bench.queue()).workers == 1


async def test_step_aside_works(full: Bench) -> None:
    await full.beat("w1", idle=True)
    await _fill_up(full)
    assert await full.step_aside("w1", leaving=True) == 0


async def test_quarantine_works(full: Bench) -> None:
    (entry,) = await full.take("b1", size=1)
    await _fill_up(full)
    call = quarantine(full.keys, ("w1", "b1"), entry, Fault("X", "y"), ttl_ms=1_000, dead_max_length=10)
    assert await full.run(call)


async def test_waiting_for_the_jobs_of_others_works(full: Bench) -> None:
    await _fill_up(full)
    views = await full.run(await_results(full.keys, "c2", ["j0", "j1"], register=True, check=True))
    assert [view.state for view in views] == ["queued", "queued"]


@pytest.mark.parametrize("by", ["status", "await"])
async def test_lost_jobs_are_found(full: Bench, by: str) -> None:
    await full.raw.delete(*(full.keys.lane(lane) for lane in LANES))
    await _fill_up(full)
    if by == "status":
        view = await full.status("j0")
        assert view is not None
        assert view.record[b"state"] == b"failed"
    else:
        (found,) = await full.run(await_results(full.keys, "c2", ["j0"], register=True, check=True))
        assert found.state == "failed"
