"""Idle: what workers cost that have nothing to do.

Rule: first without a job, which gives the background per worker and second; then with jobs, of whose script
calls the background is taken off. Fifty workers live in two processes, 25 in each.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from benchmarks.cell import Cell
from benchmarks.contenders import OURS
from benchmarks.report import Column, Verdict, at_most
from benchmarks.scenarios.contract import Scenario, checked, warm_up
from benchmarks.workload import arrivals_s, payload

if TYPE_CHECKING:
    from benchmarks.cell import Figures
    from benchmarks.contenders.contract import Producer
    from benchmarks.gauges import Gauges
    from benchmarks.measured import Results

__all__ = ["Idle"]

RATE = 200.0
SIZES = {1: (1, 1), 50: (2, 25)}
"""Workers in all: processes, workers in each."""
BACKGROUND_LIMIT = 2
SAME = 1.1
SETTLING_S = 1.0  # first beats load their script, which counts twice
FIRST_JOB = 10_000_000


class Idle(Scenario):
    """Script calls by number of idle workers."""

    name = "idle"
    title = f"Idle: script calls with 1 and with 50 workers (2 processes x 25), {RATE:g} jobs/s (Poisson)"
    columns = (
        Column("background calls/worker/s", "background_calls_per_worker_s"),
        Column("script calls/job beside it", "net_script_calls_per_job", spread=True),
        Column("CPU us/job", "cpu_us"),
    )

    def cells(self, seconds: float) -> list[Cell]:
        """See `Scenario`."""
        return [
            Cell(
                scenario=self.name,
                contender=OURS,
                label=_label(size),
                seconds=seconds,
                processes=processes,
                workers=workers,
                rate=RATE,
            )
            for size, (processes, workers) in SIZES.items()
        ]

    def measure(self, producer: Producer, cell: Cell, gauges: Gauges) -> Figures:
        """See `Scenario`."""
        warm_up(producer)
        time.sleep(SETTLING_S)
        gauges.start()
        time.sleep(2 * cell.seconds)
        quiet = gauges.stop(0)
        background_per_s = quiet["script_calls"] / quiet["elapsed_s"]
        due_s = arrivals_s(cell.rate, cell.seconds)
        payloads = [payload(FIRST_JOB + index) for index in range(len(due_s))]
        gauges.start()
        outcomes = producer.arrive(payloads, due_s)
        figures = gauges.stop(len(outcomes))
        checked(outcomes)
        net_calls = figures["script_calls"] - background_per_s * figures["elapsed_s"]
        return figures | {
            "background_calls_per_worker_s": background_per_s / (cell.processes * cell.workers),
            "net_script_calls_per_job": net_calls / len(outcomes),
        }

    def verdicts(self, results: Results) -> list[Verdict]:
        """See `Scenario`."""
        return [
            at_most(
                "background per idle worker and second:",
                BACKGROUND_LIMIT,
                results.median(_label(50), "background_calls_per_worker_s"),
                " calls",
            ),
            at_most(
                "script calls per job with 50 workers, times those with 1 (the same, give or take noise):",
                SAME,
                results.ratio("net_script_calls_per_job", _label(50), _label(1)),
            ),
        ]


def _label(size: int) -> str:
    return f"{OURS}, {size} worker{'s' if size > 1 else ''}"
