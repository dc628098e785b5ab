"""Does anything grow? A pure judgement over samples that were taken at a steady load.

Rule: the start is left out (a process warms up), then the first quarter is compared with the last one, by
their medians, so that a single burst is no growth. A tolerance per gauge tells what grows from what moves;
for memory it is a slope, so that the longer a run, the smaller the leak that it finds.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Sample", "Trend", "trends"]

WARM_UP_SHARE = 0.3
LEAST_SAMPLES = 8
LEAST_MINUTES = 1.5
"""Between two quarters that are closer than that, processes are warming up, and single deaths weigh."""
_KIB = 1024.0


class Tolerance(NamedTuple):
    """What a gauge may gain without being a leak: a share, a number on top, and a number for each minute."""

    share: float
    extra: float
    per_minute: float = 0.0
    extra_while_warming: float = 0.0

    def allows(self, first: float, last: float, minutes: float) -> bool:
        extra = self.extra + (self.extra_while_warming if minutes < LEAST_MINUTES else 0.0)
        return last <= first * (1 + self.share) + extra + self.per_minute * minutes


# By the gauge's last word.
_TOLERANCES = {
    "rss_kib": Tolerance(0.0, 2 * _KIB, 0.2 * _KIB, extra_while_warming=6 * _KIB),
    "memory_kib": Tolerance(0.15, 2 * _KIB),
    "fds": Tolerance(0.0, 6),
    "threads": Tolerance(0.0, 3),
    "tasks": Tolerance(0.25, 40),
    # A worker that is being started while one of two short quarters lasts is a dozen connections less in it.
    "connections": Tolerance(0.0, 8, extra_while_warming=24),
    "channels": Tolerance(0.0, 4),
    "consumers": Tolerance(0.0, 4),
    "pending": Tolerance(0.5, 60),
    "entries": Tolerance(0.5, 60),
    "keys": Tolerance(0.25, 100),
}


@dataclass(frozen=True, slots=True)
class Sample:
    """What all gauges said at one moment."""

    at_s: float
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Trend:
    """How one gauge went: medians of the first and the last quarter, and the slope between them."""

    name: str
    first: float
    last: float
    per_minute: float
    grows: bool


def trends(samples: Sequence[Sample]) -> list[Trend]:
    """One trend for each gauge.

    Args:
        samples: In the order of time.

    Raises:
        ValueError: There are too few samples to tell anything.
    """
    steady = samples[int(len(samples) * WARM_UP_SHARE) :]
    if len(steady) < LEAST_SAMPLES:
        raise ValueError(f"{len(samples)} samples are too few: soak for longer")
    quarter = len(steady) // 4
    start, end = steady[:quarter], steady[-quarter:]
    minutes = (_middle_s(end) - _middle_s(start)) / 60
    names = sorted({name for sample in steady for name in sample.values})
    found = []
    for name in names:
        first, last = _median(start, name), _median(end, name)
        fine = _TOLERANCES[name.rpartition(" ")[2]].allows(first, last, minutes)
        found.append(Trend(name, first, last, (last - first) / minutes, not fine))
    return found


def _median(samples: Sequence[Sample], name: str) -> float:
    """A sample without a value (its process was down) does not count; a gauge that never was is 0."""
    values = [sample.values[name] for sample in samples if name in sample.values]
    return statistics.median(values) if values else 0.0


def _middle_s(samples: Sequence[Sample]) -> float:
    return statistics.fmean(sample.at_s for sample in samples)
