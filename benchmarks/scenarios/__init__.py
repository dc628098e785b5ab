"""The scenarios, by name, in the order in which they run and are printed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.scenarios.adaptive import Adaptive
from benchmarks.scenarios.closed_loop import ClosedLoop
from benchmarks.scenarios.fleet import Fleet
from benchmarks.scenarios.idle import Idle
from benchmarks.scenarios.latency import Latency
from benchmarks.scenarios.submit import Submit
from benchmarks.scenarios.throughput import Throughput

if TYPE_CHECKING:
    from benchmarks.scenarios.contract import Scenario

__all__ = ["SCENARIOS"]

_ALL: tuple[Scenario, ...] = (Throughput(), Submit(), ClosedLoop(), Adaptive(), Latency(), Fleet(), Idle())
SCENARIOS: dict[str, Scenario] = {scenario.name: scenario for scenario in _ALL}
