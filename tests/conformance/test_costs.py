"""What a call costs the server, counted in commands: constant per call, and at most three per job."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

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
