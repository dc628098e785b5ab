"""The turns of lanes as plain arithmetic: what `include/turns.lua` computes, written a second time.

Rule: no I/O. A lane's turn is where it stands in line; it moves back by what it was served, by its weight.
"""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Line"]


@dataclass
class Line:
    """Lanes that take turns.

    Attributes:
        quantum: The most jobs of a batch.
        turn: How far the line has come.
        stands: By lane, where it stands; only lanes with work.
        weights: By lane.
    """

    quantum: int
    turn: float = 0.0
    stands: dict[str, float] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)

    def weight(self, lane: str) -> float:
        return self.weights.get(lane, 1.0)

    def enter(self, lane: str) -> None:
        """A lane has work and stands behind one full batch of its own."""
        self.stands.setdefault(lane, self.turn + self.quantum / self.weight(lane))

    def next(self) -> str | None:
        """Whose turn it is."""
        return min(self.stands, key=lambda lane: (self.stands[lane], lane), default=None)

    def serve(self, lane: str, jobs: int, *, has_more: bool) -> None:
        """It was served that many jobs."""
        own = max(self.stands.pop(lane), self.turn)
        weight = self.weight(lane)
        self.turn = max(self.turn, own - max(0, self.quantum - jobs) / weight)
        if has_more:
            self.stands[lane] = own + jobs / weight
