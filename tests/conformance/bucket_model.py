"""A token bucket as plain arithmetic: what `include/allowance.lua` computes, written a second time.

Rule: no I/O and no clock. It holds `size` tokens; who needs more than that goes when it is full, into debt.
"""

from __future__ import annotations

__all__ = ["Bucket"]

ALMOST = 1e-6


class Bucket:
    """Tokens that come at a rate."""

    def __init__(self, rate: float, size: float) -> None:
        self.rate = rate
        self.size = size
        self.tokens = size

    @property
    def whole(self) -> int:
        """How many may go now."""
        return max(0, int(self.tokens + ALMOST))

    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.tokens = min(self.size, self.tokens + seconds * self.rate)

    def can(self, cost: float) -> bool:
        """Whether something of that cost may go first."""
        return min(cost, self.size) - self.tokens <= ALMOST

    def spend(self, cost: float) -> None:
        self.tokens -= cost
