"""Throughput: how many jobs go end to end, with every result in the producer's hand, and what they cost.

Rule: one producer and one worker process; as many jobs at once as the contender's call for many takes.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from benchmarks.cell import Cell
from benchmarks.contenders import LIMIT, LIMIT_MSGPACK, OURS, PEERS
from benchmarks.report import Column, Verdict, at_least, at_most
from benchmarks.scenarios.contract import Scenario, payloads_for, warm_up, with_peers
from benchmarks.workload import check, mean_batch_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.cell import Figures
    from benchmarks.contenders.contract import Producer
    from benchmarks.gauges import Gauges
    from benchmarks.measured import Results
    from benchmarks.workload import Payload

__all__ = ["Throughput"]

LIMIT_SHARE = 0.7
PEER_FACTOR = 15
CPU_LIMIT_US = 40


class Throughput(Scenario):
    """End to end, in bulk."""

    name = "throughput"
    title = "Throughput: end to end, every result in the producer's hand, batches up to 100"
    columns = (
        Column("jobs/s", "jobs_per_s", base=LIMIT, spread=True),
        Column("CPU us/job", "cpu_us"),
        Column("producer", "producer_cpu_us"),
        Column("worker", "worker_cpu_us"),
        Column("redis", "redis_cpu_us"),
        Column("script calls/job", "script_calls_per_job"),
        Column("commands/job", "commands_per_job"),
        Column("mean batch", "mean_batch"),
    )

    def cells(self, seconds: float) -> list[Cell]:
        """See `Scenario`."""
        cell = Cell(scenario=self.name, contender="", label="", seconds=seconds)
        return with_peers(cell, LIMIT, LIMIT_MSGPACK)

    def measure(self, producer: Producer, cell: Cell, gauges: Gauges) -> Figures:
        """See `Scenario`."""
        warm_up(producer)

        def run(payloads: Sequence[Payload]) -> float:
            begun_s = time.perf_counter()
            producer.run_all(payloads)
            return time.perf_counter() - begun_s

        payloads = payloads_for(cell.seconds, run)
        gauges.start()
        answers = producer.run_all(payloads)
        figures = gauges.stop(len(payloads))
        check(enumerate(answers))
        return figures | {"mean_batch": mean_batch_size(answers)}

    def verdicts(self, results: Results) -> list[Verdict]:
        """See `Scenario`."""
        return [
            at_least("jobs/s, share of the limit's:", LIMIT_SHARE, results.ratio("jobs_per_s", OURS, LIMIT)),
            *(
                at_least(f"jobs/s, times {peer}'s:", PEER_FACTOR, results.ratio("jobs_per_s", OURS, peer))
                for peer in PEERS
            ),
            at_most(
                "CPU per job over producer, worker and Redis:",
                CPU_LIMIT_US,
                results.median(OURS, "cpu_us"),
                " us",
            ),
        ]
