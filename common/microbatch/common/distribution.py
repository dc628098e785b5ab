"""A distribution: how often values fell into each of a few fixed ranges.

Rule: adding many values costs next to nothing, because it is done for every job; nothing here locks. One
thread adds, others may read: what they see may be one addition old, and is never torn beyond that.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["FILL_BOUNDS", "SECONDS_BOUNDS", "SIZE_BOUNDS", "Distribution", "quantile"]

SECONDS_BOUNDS = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0
)  # fmt: skip
SIZE_BOUNDS = tuple(float(2**power) for power in range(14))
FILL_BOUNDS = tuple(tenth / 10 for tenth in range(1, 11))


class Distribution:
    """Counts by range.

    Args:
        bounds: The upper ends of the ranges, inclusive, ascending; what is above the last is counted too.

    Attributes:
        counts: How many values fell into each range, the last one without an upper end.
        total: The sum of all values.
    """

    __slots__ = ("_thousandfold", "bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self._thousandfold = [bound * 1000 for bound in bounds]
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def add_thousandths(self, values: Iterable[int]) -> None:
        """Count many values, each given in thousandths: milliseconds, where the bounds are seconds.

        Sorted, they fall into few ranges, each counted at once: in C, as this is done for every job.
        """
        counts, bounds = self.counts, self._thousandfold
        ascending = sorted(values)
        done, count = 0, len(ascending)
        while done < count:
            place = bisect_left(bounds, ascending[done])
            upto = bisect_right(ascending, bounds[place], done) if place < len(bounds) else count
            counts[place] += upto - done
            done = upto
        self.total += sum(ascending) / 1000

    def cumulative(self) -> list[tuple[float, int]]:
        """How many values were at most each bound; the last bound is infinity."""
        return list(zip((*self.bounds, float("inf")), accumulate(self.counts), strict=True))


def quantile(bounds: Sequence[float], counts: Sequence[int], share: float) -> float | None:
    """The value below which that share of all values lies, linear within its range; None without values.

    What lies above the last bound is taken for the last bound.
    """
    rank = share * sum(counts)
    if rank <= 0:
        return None
    below = 0
    lower = 0.0
    for bound, count in zip(bounds, counts, strict=False):
        if count and below + count >= rank:
            return lower + (bound - lower) * (rank - below) / count
        below += count
        lower = bound
    return bounds[-1]
