"""The step of a failover: the last steps never were, and only those who took part in them know of them."""

from __future__ import annotations

import copy
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule
from tests.conformance.walk import KEYS
from tests.conformance.walk_control import ControlSteps
from tests.moments import Moment

if TYPE_CHECKING:
    from tests.conformance.model import Job, ModelBatch

__all__ = ["FailoverSteps"]

MOST_UNDONE = 3


@dataclass(frozen=True)
class Kept:
    """The queue and the model after one step."""

    moment: Moment
    jobs: dict[str, Job]
    batches: dict[str, ModelBatch]
    gate: tuple[bool, bool]
    size_limit: int | None
    regrouped: bool


class FailoverSteps(ControlSteps):
    """A replica is promoted that the last scripts had not reached."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: deque[Kept] = deque(maxlen=MOST_UNDONE + 1)

    @invariant()
    def what_is_now_may_come_back(self) -> None:
        self.kept.append(
            Kept(
                Moment(self.raw, KEYS),
                *copy.deepcopy((self.jobs, self.batches)),
                (self.paused, self.draining),
                self.size_limit,
                self.regrouped,
            )
        )

    @precondition(lambda self: len(self.kept) > 1)
    @rule(data=st.data())
    def fail_over(self, data: st.DataObject) -> None:
        """Workers keep the batches that they were given: they are zombies, although nobody took them over."""
        undone = data.draw(st.integers(1, len(self.kept) - 1), label="steps")
        for _ in range(undone):
            self.kept.pop()
        back = self.kept.pop()  # the next invariant keeps it again
        back.moment.comes_back()
        for name, batch in self.batches.items():
            if name not in back.batches:
                back.batches[name] = copy.copy(batch)
                back.batches[name].held = False
        self.jobs, self.batches = back.jobs, back.batches
        self.paused, self.draining = back.gate
        self.size_limit, self.regrouped = back.size_limit, back.regrouped
