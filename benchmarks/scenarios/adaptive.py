"""Adaptive: whether a worker that is told nothing does as well as one that is told what suits the load.

Rule: the device of the closed loop (5 ms per call plus 0.02 ms per job, one call at a time); 64 callers, who
never fill a batch of 100, and a sweep of arrivals by chance. Every variant is microbatch, with other
settings.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from benchmarks.cell import Cell
from benchmarks.contenders import OURS
from benchmarks.gauges import latency_figures
from benchmarks.report import Column, Verdict, at_least, at_most
from benchmarks.scenarios.contract import Scenario, checked, warm_up
from benchmarks.workload import arrivals_s, mean_batch_size, payload

if TYPE_CHECKING:
    from benchmarks.cell import Figures
    from benchmarks.contenders.contract import Outcome, Producer
    from benchmarks.gauges import Gauges
    from benchmarks.measured import Results

__all__ = ["Adaptive"]

CALLERS = 64
RATES = (50.0, 200.0, 500.0, 1_000.0, 2_000.0)
WAIT_MS = 10.0
FIRST_JOB, WARM_UP_FIRST_JOB = 10_000_000, 1_000_000
FILLS, WAITS, AT_ONCE, ADAPTIVE = "fixed 64, 10 ms", "fixed 100, 10 ms", "fixed 100, 0 ms", "adaptive 100"
SHARE_OF_FILLING, POISSON_FACTOR = 0.85, 1.1


class Adaptive(Scenario):
    """Fixed settings and adaptive batching beside each other."""

    name = "adaptive"
    title = "Adaptive batching: 64 callers in a closed loop, and a sweep of Poisson arrivals"
    columns = (
        Column("jobs/s", "jobs_per_s", base=f"{CALLERS} callers, {FILLS}"),
        Column("mean batch", "mean_batch"),
        Column("batches/job", "batches_per_job"),
        Column("p50 ms", "p50_ms"),
        Column("p95 ms", "p95_ms"),
    )

    def cells(self, seconds: float) -> list[Cell]:
        """See `Scenario`."""
        basis = Cell(
            scenario=self.name,
            contender=OURS,
            label="",
            seconds=seconds,
            max_wait_ms=WAIT_MS,
            concurrency=1,
            costs=True,
        )
        variants = {
            FILLS: replace(basis, max_batch_size=CALLERS),
            WAITS: basis,
            AT_ONCE: replace(basis, max_wait_ms=0.0),
            ADAPTIVE: replace(basis, batching="adaptive"),
        }
        closed = [replace(cell, label=f"{CALLERS} callers, {name}") for name, cell in variants.items()]
        del variants[FILLS]
        return closed + [
            replace(cell, label=f"{rate:g}/s, {name}", rate=rate)
            for rate in RATES
            for name, cell in variants.items()
        ]

    def measure(self, producer: Producer, cell: Cell, gauges: Gauges) -> Figures:
        """See `Scenario`."""
        warm_up(producer)
        checked(_drive(producer, cell, cell.seconds / 4, WARM_UP_FIRST_JOB))
        gauges.start()
        outcomes = _drive(producer, cell, cell.seconds, FIRST_JOB)
        figures = gauges.stop(len(outcomes))
        mean_batch = mean_batch_size([each.answer for each in checked(outcomes)])
        figures |= {"mean_batch": mean_batch, "batches_per_job": 1 / mean_batch}
        return figures | latency_figures([each.latency_s for each in outcomes])

    def verdicts(self, results: Results) -> list[Verdict]:
        """See `Scenario`."""
        filled, adaptive = f"{CALLERS} callers, {FILLS}", f"{CALLERS} callers, {ADAPTIVE}"
        share = results.ratio("jobs_per_s", adaptive, filled)
        return [
            at_least(f"{CALLERS} callers: jobs/s, times those where batches fill:", SHARE_OF_FILLING, share),
            *(
                at_most(
                    f"{rate:g}/s: p95, times that without a wait:",
                    POISSON_FACTOR,
                    results.ratio("p95_ms", f"{rate:g}/s, {ADAPTIVE}", f"{rate:g}/s, {AT_ONCE}"),
                )
                for rate in RATES
            ),
        ]


def _drive(producer: Producer, cell: Cell, seconds: float, first: int) -> list[Outcome]:
    if not cell.rate:
        return producer.circle(CALLERS, seconds, first)
    due_s = arrivals_s(cell.rate, seconds)
    return producer.arrive([payload(first + index) for index in range(len(due_s))], due_s)
