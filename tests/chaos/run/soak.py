"""`make soak`: a steady load for a while, with a death now and then; is there anything that grows?

`worker-0`, the producer and the waiter live through all of it; the other workers are killed and told to leave
in turn, and once the server is killed. Results are kept for seconds only, so that their number levels off.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.chaos.run.arena import Terms, arena_at
from tests.chaos.run.gauges import in_processes, in_redis, in_tasks
from tests.chaos.run.journal import read_journals
from tests.chaos.run.schedule import Deed
from tests.chaos.run.trends import Sample, Trend, trends

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.chaos.run.arena import Arena

__all__ = ["soak"]

RATE_HZ = 60.0
SETTINGS = {"result_ttl_s": 2.0, "dead_max_length": 100}
SAMPLES = 120
GAP_S = 6.0
LONG_LIVED = ("worker-0", "producer", "waiter")
GOOD, BAD = 0, 1


def deeds(seconds: float) -> list[Deed]:
    """A death every few seconds, evenly, so that every quarter has its share."""
    turns = (
        ("kill", "worker-1"),
        ("term", "worker-2"),
        ("reset", "producer"),
        ("kill", "worker-2"),
        ("reset", "worker-0"),
        ("term", "worker-1"),
    )
    found = [
        Deed(GAP_S * (number + 1), *turns[number % len(turns)]) for number in range(int(seconds / GAP_S) - 1)
    ]
    return sorted([*found, Deed(seconds / 2 + 1, "server kill", lasts_s=0.1)], key=lambda deed: deed.at_s)


async def _watch(arena: Arena, every_s: float, over: asyncio.Event) -> list[Sample]:
    """Sample until it is over: an event and no cancellation, which redis-py may swallow."""
    samples: list[Sample] = []
    lasting = [arena.units[name] for name in LONG_LIVED]
    while not over.is_set():
        values = in_processes(lasting) | in_tasks(arena.folder, lasting) | await in_redis(arena.admin)
        samples.append(Sample(time.monotonic(), values))
        await asyncio.sleep(every_s)
    return samples


async def soak(seconds: float, folder: Path) -> tuple[list[Trend], list[str]]:
    """Soak; returns how each gauge went, and what else is wrong."""
    terms = Terms(0, seconds, RATE_HZ, settings=SETTINGS, gentle=True)
    async with arena_at(terms, folder) as arena:
        over = asyncio.Event()
        watching = asyncio.create_task(_watch(arena, max(0.25, seconds / SAMPLES), over))
        await arena.harm(deeds(seconds))
        over.set()
        samples = await watching
        await arena.drain()
        problems = list(arena.problems)
    lines = list(read_journals(folder))
    # Those that are cancelled or expire may never begin.
    accepted = {
        line.job for line in lines if line.what == "accepted" and not line.job.endswith(("-cancel", "-late"))
    }
    begun = {line.job for line in lines if line.what == "began"}
    if not accepted:
        problems.append("no job was accepted")
    if unborn := accepted - begun:
        problems.append(f"{len(unborn)} of {len(accepted)} accepted jobs never began")
    return trends(samples), problems


def _table(found: Sequence[Trend]) -> str:
    rows = [f"{'':32}{'first quarter':>14}{'last quarter':>14}{'a minute':>12}"]
    rows += [
        f"{trend.name:32}{trend.first:14,.0f}{trend.last:14,.0f}{trend.per_minute:+12,.1f}"
        f"{'  GROWS' if trend.grows else ''}"
        for trend in found
    ]
    return "\n".join(rows)


def main(words: Sequence[str] | None = None) -> int:
    """Soak once; the exit code says whether nothing grew."""
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=300.0, help="for how long (300)")
    given = parser.parse_args(words)
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    found, problems = asyncio.run(soak(given.seconds, folder))
    problems += [f"{trend.name} grows" for trend in found if trend.grows]
    print(_table(found))
    print(*problems, sep="\n")
    if problems:
        print(f"evidence is kept in {folder}")
        return BAD
    shutil.rmtree(folder)
    return GOOD


if __name__ == "__main__":
    sys.exit(main())
