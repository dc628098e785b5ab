"""Submit: how many jobs one producer process hands over, one by one from 64 callers, and in bulk.

Rule: no worker runs; a job counts once its submit has returned, and the queue must hold exactly those.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from benchmarks.cell import Cell
from benchmarks.contenders import LIMIT, OURS, PEERS
from benchmarks.report import Column, Verdict, at_least
from benchmarks.scenarios.contract import Scenario, payloads_for, with_peers
from benchmarks.workload import WrongResultError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.cell import Figures
    from benchmarks.contenders.contract import Producer
    from benchmarks.gauges import Gauges
    from benchmarks.measured import Results
    from benchmarks.workload import Payload

__all__ = ["Submit"]

CALLERS = 64
PEER_FACTOR = 4
BULK_JOBS_PER_S = 100_000


class Submit(Scenario):
    """Handing jobs over."""

    name = "submit"
    title = f"Submit: {CALLERS} concurrent callers one by one, and in bulk; no worker"
    columns = (
        Column("one by one, jobs/s", "each_jobs_per_s", base=LIMIT, spread=True),
        Column("CPU us/job: producer", "each_producer_cpu_us"),
        Column("redis", "each_redis_cpu_us"),
        Column("bulk, jobs/s", "bulk_jobs_per_s", base=LIMIT, spread=True),
        Column("CPU us/job: producer", "bulk_producer_cpu_us"),
        Column("redis", "bulk_redis_cpu_us"),
    )

    def cells(self, seconds: float) -> list[Cell]:
        """See `Scenario`."""
        return with_peers(
            Cell(scenario=self.name, contender="", label="", seconds=seconds / 2, processes=0), LIMIT
        )

    def measure(self, producer: Producer, cell: Cell, gauges: Gauges) -> Figures:
        """See `Scenario`."""
        kinds: dict[str, Callable[[Sequence[Payload]], None]] = {
            "each": lambda payloads: producer.submit_each(payloads, CALLERS)
        }
        if producer.has_bulk:
            kinds["bulk"] = producer.submit_bulk
        figures: Figures = {}
        for kind, submit in kinds.items():
            measured = _measure(producer, submit, cell.seconds, gauges)
            figures |= {f"{kind}_{name}": value for name, value in measured.items()}
        return figures

    def verdicts(self, results: Results) -> list[Verdict]:
        """See `Scenario`."""
        rates = {peer: results.median(peer, "each_jobs_per_s") or 0.0 for peer in PEERS}
        best = max(rates, key=lambda peer: rates[peer])
        return [
            at_least(
                f"one by one, times the best peer's ({best}):",
                PEER_FACTOR,
                results.ratio("each_jobs_per_s", OURS, best),
            ),
            at_least("bulk:", BULK_JOBS_PER_S, results.median(OURS, "bulk_jobs_per_s"), " jobs/s"),
        ]


def _measure(
    producer: Producer, submit: Callable[[Sequence[Payload]], None], seconds: float, gauges: Gauges
) -> Figures:
    def run(payloads: Sequence[Payload]) -> float:
        begun_s = time.perf_counter()
        submit(payloads)
        return time.perf_counter() - begun_s

    payloads = payloads_for(seconds, run)
    before = producer.waiting()
    gauges.start()
    submit(payloads)
    figures = gauges.stop(len(payloads))
    accepted = producer.waiting() - before
    if accepted != len(payloads):
        raise WrongResultError(f"{len(payloads)} jobs were submitted, the queue holds {accepted} of them")
    return figures
