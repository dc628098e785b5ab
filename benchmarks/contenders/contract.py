"""The shape of a contender: what it does as a worker process, and as a producer process.

Rule: every contender is driven through these methods and nothing else, so that all are asked the same. Each
is used as its own documentation shows it; what it does not have, it does not have to imitate. A contender
never measures itself.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.cell import Site
    from benchmarks.workload import Answer, Payload

__all__ = ["TIMEOUT_S", "Contender", "Outcome", "Producer"]

TIMEOUT_S = 30.0
"""How long any one job may take before its cell counts as failed."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One job that was submitted by itself: which, how long until its result was in hand, the result."""

    number: int
    latency_s: float
    answer: Any


class Producer(ABC):
    """One producer process. Used as a context manager."""

    has_bulk = True
    """Whether it has a call of its own for many jobs."""

    runs_on = "threads"
    """The event loop it runs on, or that it has none."""

    @abstractmethod
    def __enter__(self) -> Self: ...

    @abstractmethod
    def __exit__(self, *_: object) -> None: ...

    @abstractmethod
    def run_all(self, payloads: Sequence[Payload]) -> Sequence[Answer]:
        """Submit all, as fast as it goes, and return every result in order."""

    @abstractmethod
    def submit_each(self, payloads: Sequence[Payload], callers: int) -> None:
        """Submit one by one, from that many concurrent callers; return when all are accepted."""

    @abstractmethod
    def submit_bulk(self, payloads: Sequence[Payload]) -> None:
        """Submit all by the call for many; return when all are accepted."""

    @abstractmethod
    def waiting(self) -> int:
        """How many jobs the queue holds."""

    @abstractmethod
    def arrive(self, payloads: Sequence[Payload], due_s: Sequence[float]) -> list[Outcome]:
        """Submit each when it is due, whether or not earlier ones are back; return when all are back."""

    @abstractmethod
    def circle(self, callers: int, seconds: float, first: int) -> list[Outcome]:
        """For that long, have each caller submit its next job once it has the last one's result.

        Jobs are numbered upwards from `first`.
        """


@dataclass(frozen=True, slots=True)
class Contender:
    """Who is measured.

    Attributes:
        work: Be a worker process, for ever; calls the second argument when it is ready.
        producer: Make a producer.
    """

    work: Callable[[Site, Callable[[], None]], None]
    producer: Callable[[Site], Producer]
