"""What a call costs the server, counted in commands: constant per call, and at most three per job."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from microbatch.common.identifiers import new_batch_id

if TYPE_CHECKING:
    from tests.conformance.bench import Bench

_NOT_OURS = {"evalsha", "script|load", "info", "config|resetstat", "config|set", "client|setname", "time"}


async def _commands(bench: Bench) -> dict[str, int]:
    """How often each command was executed since the last count."""
    stats = await bench.raw.info("commandstats")
    await bench.raw.config_resetstat()
    counts = {name.removeprefix("cmdstat_"): int(facts["calls"]) for name, facts in stats.items()}
    return {name: calls for name, calls in counts.items() if name not in _NOT_OURS}


@pytest.mark.parametrize("jobs", [32, 256])
async def test_the_hot_path_is_three_commands_per_job_and_step(real_bench: Bench, jobs: int) -> None:
    await real_bench.submit("warm")
    await real_bench.settle("b0", await real_bench.take("b0"))
    await _commands(real_bench)

    await real_bench.submit(*(f"j{n}" for n in range(jobs)))
    assert sum((await _commands(real_bench)).values()) <= 3 * jobs + 12
    entries = await real_bench.take("b1", size=jobs)
    claimed = await _commands(real_bench)
    assert sum(claimed.values()) <= 20, claimed
    assert claimed["xreadgroup"] <= 2
    await real_bench.settle("b1", entries)
    assert sum((await _commands(real_bench)).values()) <= 3 * jobs + 8


async def test_a_look_at_an_empty_queue_is_cheap(real_bench: Bench) -> None:
    await real_bench.submit("warm")
    await real_bench.settle("b0", await real_bench.take("b0"))
    await _commands(real_bench)
    await real_bench.claim("b1")
    assert sum((await _commands(real_bench)).values()) <= 12
    for _ in range(2):  # what it says about itself is written when it changes
        await _commands(real_bench)
        await real_bench.beat("w1", idle=True, about="version=1")
    assert sum((await _commands(real_bench)).values()) <= 14


@pytest.mark.parametrize("worker", ["host:1234:0f1e2d3c", "microbatch-worker-7d9f8b6c5-x2x4z:1:0f1e2d3c"])
async def test_the_record_of_a_small_result_keeps_its_compact_form_under_a_servers_defaults(
    real_bench: Bench, worker: str
) -> None:
    bench = real_bench
    name, default = "hash-max-listpack-value", "64"
    [before] = (await bench.raw.config_get(name)).values()
    await bench.raw.config_set(name, default)
    try:
        await bench.submit("a")
        batch = new_batch_id()
        entries = await bench.take(batch, worker)
        assert await bench.settle(batch, entries, worker, size=10_000) is None
        assert await bench.raw.object("encoding", bench.keys.job("a")) == b"listpack"
    finally:
        await bench.raw.config_set(name, before)
