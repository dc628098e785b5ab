"""Fleet: whether batches stay full when workers are added.

Rule: the same arrivals with 1 and with 8 workers; each worker has a device of its own, which costs 5 ms per
call plus 0.02 ms per job. Eight workers live in two processes, four in each: eight interpreters on two cores
would measure the scheduler.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.cell import Cell
from benchmarks.contenders import OURS
from benchmarks.report import Column, Verdict, at_least
from benchmarks.scenarios.contract import Scenario, checked, warm_up
from benchmarks.workload import arrivals_s, mean_batch_size, payload

if TYPE_CHECKING:
    from benchmarks.cell import Figures
    from benchmarks.contenders.contract import Producer
    from benchmarks.gauges import Gauges
    from benchmarks.measured import Results

__all__ = ["Fleet"]

RATES = (500.0, 2_000.0)
SIZES = {1: (1, 1), 8: (2, 4)}
"""Workers in all: processes, workers in each."""
MAX_BATCH_SIZE = 32
MAX_WAIT_MS = 10.0
SHARE = 0.95
FIRST_JOB = 10_000_000


class Fleet(Scenario):
    """Mean batch size by number of workers."""

    name = "fleet"
    title = (
        f"Fleet: mean batch size with 1 and with 8 workers (2 processes x 4), Poisson, "
        f"wait {MAX_WAIT_MS:g} ms, at most {MAX_BATCH_SIZE}"
    )
    columns = (
        Column("mean batch", "mean_batch", spread=True),
        Column("script calls/job", "script_calls_per_job"),
        Column("CPU us/job", "cpu_us"),
    )

    def cells(self, seconds: float) -> list[Cell]:
        """See `Scenario`."""
        return [
            Cell(
                scenario=self.name,
                contender=OURS,
                label=_label(rate, size),
                seconds=seconds,
                max_batch_size=MAX_BATCH_SIZE,
                max_wait_ms=MAX_WAIT_MS,
                concurrency=1,
                costs=True,
                processes=processes,
                workers=workers,
                rate=rate,
            )
            for rate in RATES
            for size, (processes, workers) in SIZES.items()
        ]

    def measure(self, producer: Producer, cell: Cell, gauges: Gauges) -> Figures:
        """See `Scenario`."""
        warm_up(producer)
        due_s = arrivals_s(cell.rate, cell.seconds)
        payloads = [payload(FIRST_JOB + index) for index in range(len(due_s))]
        gauges.start()
        outcomes = producer.arrive(payloads, due_s)
        figures = gauges.stop(len(outcomes))
        return figures | {"mean_batch": mean_batch_size([each.answer for each in checked(outcomes)])}

    def verdicts(self, results: Results) -> list[Verdict]:
        """See `Scenario`."""
        return [
            at_least(
                f"{rate:,g} jobs/s: mean batch with 8 workers, share of that with 1:",
                SHARE,
                results.ratio("mean_batch", _label(rate, 8), _label(rate, 1)),
            )
            for rate in RATES
        ]


def _label(rate: float, size: int) -> str:
    return f"{OURS}, {rate:,g} jobs/s, {size} worker{'s' if size > 1 else ''}"
