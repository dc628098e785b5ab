"""`python -m benchmarks`: run the scenarios, print the tables.

Rule: contenders are interleaved, and their order is reversed in every second repetition, so that a slow
minute of the machine hits all of them. It ends with 1 where the limit or microbatch failed a cell, never
because of a speed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.contenders import CONTENDERS, PEERS, missing_package
from benchmarks.machine import machine_line
from benchmarks.measured import Results
from benchmarks.report import figures_table, verdicts_table
from benchmarks.scenarios import SCENARIOS
from benchmarks.stage import play
from microbatch.common.errors import EmbeddedServerError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.scenarios.contract import Scenario

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; the exit code."""
    options = _parser().parse_args(arguments)
    begun_s = time.monotonic()
    for name in [name for name in options.contenders if missing_package(name)]:
        options.contenders.remove(name)
        print(f"{name} is not installed and left out (pip install '.[bench]')", flush=True)
    try:
        machine = machine_line(options.redis)
    except EmbeddedServerError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"\nmachine: {machine}")
    print(
        f"medians of {options.reps}, {options.seconds:g} s a cell, ratios within a repetition\n", flush=True
    )
    everything: dict[str, Results] = {}
    for name in options.only:
        everything[name] = _run(SCENARIOS[name], options)
        _print(SCENARIOS[name], everything[name])
        if options.json is not None:
            options.json.write_text(_as_json(machine, everything), "utf-8")
    print(f"took {time.monotonic() - begun_s:.0f} s")
    failed = {label for results in everything.values() for label, _ in results.failures()}
    return int(bool(failed - set(PEERS)))


def _run(scenario: Scenario, options: argparse.Namespace) -> Results:
    cells = [cell for cell in scenario.cells(options.seconds) if cell.contender in options.contenders]
    results = Results(cells)
    for repetition in range(options.reps):
        for cell in reversed(cells) if repetition % 2 else cells:
            print(
                f"{scenario.name} {repetition + 1}/{options.reps}: {cell.label}", file=sys.stderr, flush=True
            )
            results.add(cell, play(cell, options.redis))
    return results


def _print(scenario: Scenario, results: Results) -> None:
    print(f"## {scenario.title}\n")
    print("\n".join(figures_table(results, scenario.columns)))
    print()
    print("\n".join(verdicts_table(scenario.verdicts(results))))
    for label, failure in results.failures():
        print(f"\n{label} failed: {failure}")
    print(flush=True)


def _as_json(machine: str, everything: dict[str, Results]) -> str:
    return json.dumps(
        {
            "machine": machine,
            "scenarios": {
                name: {label: [asdict(each) for each in found] for label, found in results.measured.items()}
                for name, results in everything.items()
            },
        },
        indent=1,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="microbatch beside others")
    for option, names in (("--only", SCENARIOS), ("--contenders", CONTENDERS)):
        parser.add_argument(
            option,
            type=partial(_names, tuple(names)),
            default=list(names),
            metavar="NAMES",
            help=f"of: {','.join(names)}",
        )
    parser.add_argument("--reps", type=int, default=3, metavar="N", help="repetitions (default: 3)")
    parser.add_argument(
        "--seconds", type=float, default=1.0, metavar="S", help="per cell, about (default: 1)"
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write every cell of every repetition there"
    )
    parser.add_argument("--redis", type=Path, metavar="PROGRAM", help="the server program to run")
    return parser


def _names(known: Sequence[str], text: str) -> list[str]:
    names = text.split(",")
    unknown = [name for name in names if name not in known]
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(known)}")
    return names


if __name__ == "__main__":
    sys.exit(main())
