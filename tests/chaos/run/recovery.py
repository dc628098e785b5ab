"""`make recovery`: workers that hold jobs are killed, one by one; how soon does another one do these jobs?

Rule: one worker is connected throughout and harmed by nobody. The clock runs from the kill until every job
that the victim held is final, so that it covers the heartbeat limit, the takeover, and the second run.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tests.chaos.fleet import Fleet
from tests.chaos.kit import Desk, desk_at, wait_until
from tests.chaos.processors import QUEUE
from tests.chaos.run.reckoning import quantile

from microbatch.common.embedded import EmbeddedServer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.chaos.fleet import Member

__all__ = ["recovery_times_s"]

LIMIT_S = 2.0
PROMISED_S = LIMIT_S + 1.0
JOBS = 5
PATIENCE_S = 30.0
GOOD, BAD = 0, 1


def _held(desk: Desk, victim: Member) -> list[str]:
    """Submit until the victim holds jobs: those that the other one takes are done at once."""

    def holds() -> bool:
        return any(f":{victim.pid}:" in key for key in desk.held_batches())

    while True:
        ids = desk.submit(*range(JOBS))
        wait_until(lambda: holds() or desk.are_final(ids), PATIENCE_S, "a claim")  # noqa: B023 - it runs now
        if holds():
            return ids


def recovery_times_s(url: str, kills: int, folder: Path) -> list[float]:
    """Kill so many workers; returns how long each recovery took, in ascending order."""
    settings = {"heartbeat_limit_s": LIMIT_S, "max_wait_ms": 0, "max_crashes": 10}
    (folder / "steady").mkdir()
    with (
        desk_at(url, QUEUE) as desk,
        Fleet(desk, folder / "steady", "answers_at_once", **settings) as steady,
        Fleet(desk, folder, "hangs_once", **settings) as victims,
    ):
        steady.start().ready().has_beaten(4)  # before that it may not judge
        victim: Member = victims.start().ready()
        times_s = []
        for _ in range(kills):
            ids = _held(desk, victim)
            victim.kill()
            times_s.append(wait_until(partial(desk.are_final, ids), PATIENCE_S, "the recovery"))
            victim = victims.start().ready()
        assert len(steady.living) == 1
    return sorted(times_s)


def main(words: Sequence[str] | None = None) -> int:
    """Measure once; the exit code says whether the promise was kept."""
    parser = argparse.ArgumentParser(prog="make recovery", description=__doc__)
    parser.add_argument("--kills", type=int, default=30, help="how many workers are killed (30)")
    given = parser.parse_args(words)
    with tempfile.TemporaryDirectory(prefix="recovery-") as folder, EmbeddedServer() as server:
        times_s = recovery_times_s(server.url, given.kills, Path(folder))
    p99_s = quantile(times_s, 0.99)
    print(
        f"{len(times_s)} kills, heartbeat limit {LIMIT_S:g} s: p50 {quantile(times_s, 0.5):.2f} s, "
        f"p99 {p99_s:.2f} s, most {times_s[-1]:.2f} s; promised {PROMISED_S:g} s"
    )
    return GOOD if p99_s < PROMISED_S else BAD


if __name__ == "__main__":
    sys.exit(main())
