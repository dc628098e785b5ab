"""`make chaos`: runs chaos by seed, prints what came of it, and keeps the evidence of what is wrong."""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.chaos.run.arena import Terms, run_chaos
from tests.chaos.run.report import table
from tests.chaos.run.schedule import Faults, schedule

if TYPE_CHECKING:
    from collections.abc import Sequence

GOOD, BAD = 0, 1


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--seed", type=int, help="repeats a schedule; by default a fresh one")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long harm is done (60)")
    parser.add_argument("--rate-hz", type=float, default=60.0, help="jobs a second (60)")
    parser.add_argument("--only", default="", help="names of faults, separated by commas; by default all")
    parser.add_argument(
        "--failover", action="store_true", help="lose primaries for good; submits are replicated then"
    )
    parser.add_argument("--engine", type=Path, help="the server's program; by default the one that is found")
    parser.add_argument("--keep", action="store_true", help="keep the evidence of a good run too")
    parser.add_argument("--plan", action="store_true", help="print the schedule and do nothing")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    """Run once; the exit code says whether every guarantee held."""
    given = _arguments(words)
    seed = random.SystemRandom().randrange(1, 10**6) if given.seed is None else given.seed
    faults = Faults(frozenset(filter(None, given.only.split(","))), failover=given.failover)
    if given.plan:
        print(*schedule(seed, given.seconds, faults), sep="\n")
        return GOOD
    folder = Path(tempfile.mkdtemp(prefix=f"chaos-{seed}-"))
    print(f"seed {seed}, {given.seconds:g} s, evidence in {folder}", flush=True)
    terms = Terms(seed, given.seconds, given.rate_hz, given.engine, faults)
    arena, found = asyncio.run(run_chaos(terms, folder))
    print(table(arena, found))
    if found.is_good and not given.keep:
        shutil.rmtree(folder)
    elif not found.is_good:
        more = " ARGS=--failover" if given.failover else ""
        print(f"again: make chaos SEED={seed} SECONDS={given.seconds:g}{more}; evidence is kept in {folder}")
    return GOOD if found.is_good else BAD


if __name__ == "__main__":
    sys.exit(main())
