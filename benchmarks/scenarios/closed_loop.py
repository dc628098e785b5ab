"""Closed loop: 64 callers, each with one job at a time, and a device that likes batches.

Rule: a call costs 5 ms plus 0.02 ms per job, on a device that serves one call at a time, in a plain
function.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.cell import Cell
from benchmarks.contenders import LIMIT, OURS
from benchmarks.gauges import latency_figures
from benchmarks.report import Column, Verdict, at_least
from benchmarks.scenarios.contract import Scenario, checked, warm_up, with_peers
from benchmarks.workload import ideal_jobs_per_s, mean_batch_size

if TYPE_CHECKING:
    from benchmarks.cell import Figures
    from benchmarks.contenders.contract import Producer
    from benchmarks.gauges import Gauges
    from benchmarks.measured import Results

__all__ = ["ClosedLoop"]

CALLERS = 64
MAX_WAIT_MS = 10.0
TARGET_JOBS_PER_S = 6_000
FIRST_JOB, WARM_UP_FIRST_JOB = 10_000_000, 1_000_000


class ClosedLoop(Scenario):
    """Callers that wait for their results."""

    name = "closed-loop"
    title = (
        f"Closed loop: {CALLERS} callers, max_batch_size={CALLERS}, wait {MAX_WAIT_MS:g} ms, 5 ms per call "
        f"+ 0.02 ms per job (ideal {ideal_jobs_per_s(CALLERS):,.0f} jobs/s)"
    )
    columns = (
        Column("jobs/s", "jobs_per_s", base=LIMIT, spread=True),
        Column("mean batch", "mean_batch"),
        Column("p50 ms", "p50_ms"),
        Column("p99 ms", "p99_ms"),
        Column("CPU us/job", "cpu_us"),
        Column("script calls/job", "script_calls_per_job"),
    )

    def cells(self, seconds: float) -> list[Cell]:
        """See `Scenario`."""
        return with_peers(
            Cell(
                scenario=self.name,
                contender="",
                label="",
                seconds=seconds,
                max_batch_size=CALLERS,
                max_wait_ms=MAX_WAIT_MS,
                concurrency=1,
                costs=True,
            ),
            LIMIT,
        )

    def measure(self, producer: Producer, cell: Cell, gauges: Gauges) -> Figures:
        """See `Scenario`."""
        warm_up(producer)
        checked(producer.circle(CALLERS, cell.seconds / 4, WARM_UP_FIRST_JOB))
        gauges.start()
        outcomes = producer.circle(CALLERS, cell.seconds, FIRST_JOB)
        figures = gauges.stop(len(outcomes))
        mean_batch = mean_batch_size([each.answer for each in checked(outcomes)])
        return figures | {"mean_batch": mean_batch} | latency_figures([each.latency_s for each in outcomes])

    def verdicts(self, results: Results) -> list[Verdict]:
        """See `Scenario`."""
        rate = results.median(OURS, "jobs_per_s")
        return [at_least("jobs/s:", TARGET_JOBS_PER_S, rate)]
