"""Latency: how long one job takes when there is little to do, with and without waiting for company.

Rule: jobs arrive at 100 a second (Poisson), one producer and one worker process, a processor without cost.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from benchmarks.cell import Cell
from benchmarks.contenders import LIMIT, OURS
from benchmarks.gauges import latency_figures
from benchmarks.report import Column, Verdict, at_most
from benchmarks.scenarios.contract import Scenario, checked, warm_up, with_peers
from benchmarks.workload import arrivals_s, payload

if TYPE_CHECKING:
    from benchmarks.cell import Figures
    from benchmarks.contenders.contract import Producer
    from benchmarks.gauges import Gauges
    from benchmarks.measured import Results

__all__ = ["Latency"]

RATE = 100.0
WAIT_MS = 5.0
WARM_UP_S = 0.2
FIRST_JOB, WARM_UP_FIRST_JOB = 10_000_000, 1_000_000
AT_ONCE, WAITING = f"{OURS}, wait 0 ms", f"{OURS}, wait {WAIT_MS:g} ms"

P50_LIMIT_FACTOR = 2.3
P99_LIMIT_MS = 3.5
WAITING_P50_LIMIT_MS, WAITING_P99_LIMIT_MS = 7.0, 12.0


class Latency(Scenario):
    """Submit to result in hand."""

    name = "latency"
    title = f"Latency: {RATE:g} jobs/s (Poisson), submit to result in hand"
    columns = (
        Column("p50 ms", "p50_ms", base=LIMIT, spread=True),
        Column("p99 ms", "p99_ms", spread=True),
        Column("CPU us/job", "cpu_us"),
        Column("script calls/job", "script_calls_per_job"),
        Column("commands/job", "commands_per_job"),
    )

    def cells(self, seconds: float) -> list[Cell]:
        """See `Scenario`."""
        cells = []
        basis = Cell(scenario=self.name, contender="", label="", seconds=2 * seconds, rate=RATE)
        for cell in with_peers(basis, LIMIT):
            if cell.contender == OURS:
                cells.append(replace(cell, label=AT_ONCE, max_wait_ms=0.0))
                cells.append(replace(cell, label=WAITING, max_wait_ms=WAIT_MS))
            else:
                cells.append(cell)
        return cells

    def measure(self, producer: Producer, cell: Cell, gauges: Gauges) -> Figures:
        """See `Scenario`."""
        warm_up(producer)
        for first, seconds in ((WARM_UP_FIRST_JOB, WARM_UP_S), (FIRST_JOB, cell.seconds)):
            due_s = arrivals_s(cell.rate, seconds)
            payloads = [payload(first + index) for index in range(len(due_s))]
            gauges.start()
            outcomes = producer.arrive(payloads, due_s)
            figures = gauges.stop(len(outcomes))
            checked(outcomes)
        return figures | latency_figures([each.latency_s for each in outcomes])

    def verdicts(self, results: Results) -> list[Verdict]:
        """See `Scenario`."""
        return [
            at_most(
                "wait 0: p50, times the limit's:", P50_LIMIT_FACTOR, results.ratio("p50_ms", AT_ONCE, LIMIT)
            ),
            at_most("wait 0: p99", P99_LIMIT_MS, results.median(AT_ONCE, "p99_ms"), " ms"),
            at_most("wait 5: p50", WAITING_P50_LIMIT_MS, results.median(WAITING, "p50_ms"), " ms"),
            at_most("wait 5: p99", WAITING_P99_LIMIT_MS, results.median(WAITING, "p99_ms"), " ms"),
        ]
