"""Producers whose client blocks: each concurrent caller is a thread.

Rule: the clock of a job starts when it is due and stops when its result is in its caller's hand; an arriving
job has a thread ready for it, so that a slow one never delays the next. It never knows which client it
drives.
"""

from __future__ import annotations

import itertools
import time
from abc import abstractmethod
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from benchmarks.contenders.contract import Outcome, Producer
from benchmarks.workload import Payload, payload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["ThreadProducer"]

ARRIVAL_THREADS = 16


class ThreadProducer(Producer):
    """A producer with threads; subclasses say how their client does each thing."""

    @abstractmethod
    def submit(self, item: Payload) -> object:
        """Submit one job; return when it is accepted."""

    @abstractmethod
    def call(self, item: Payload) -> Any:
        """Submit one job and return its result."""

    def submit_each(self, payloads: Sequence[Payload], callers: int) -> None:
        """See `Producer`."""
        supply: Iterator[Payload] = iter(payloads)

        def caller() -> None:
            for item in supply:
                self.submit(item)

        _in_threads(caller, callers)

    def arrive(self, payloads: Sequence[Payload], due_s: Sequence[float]) -> list[Outcome]:
        """See `Producer`."""
        with ThreadPoolExecutor(ARRIVAL_THREADS) as pool:
            calls = []
            begun_s = time.perf_counter()
            for item, due in zip(payloads, due_s, strict=True):
                time.sleep(max(0.0, begun_s + due - time.perf_counter()))
                calls.append(pool.submit(self._timed, item, time.perf_counter()))
            return [call.result() for call in calls]

    def circle(self, callers: int, seconds: float, first: int) -> list[Outcome]:
        """See `Producer`."""
        outcomes: list[Outcome] = []
        numbers = itertools.count(first)
        ends_s = time.perf_counter() + seconds

        def caller() -> None:
            while (now_s := time.perf_counter()) < ends_s:
                outcomes.append(self._timed(payload(next(numbers)), now_s))

        _in_threads(caller, callers)
        return outcomes

    def _timed(self, item: Payload, begun_s: float) -> Outcome:
        answer = self.call(item)
        return Outcome(item["id"], time.perf_counter() - begun_s, answer)


def _in_threads(function: Callable[[], None], count: int) -> None:
    with ThreadPoolExecutor(count) as pool:
        for running in [pool.submit(function) for _ in range(count)]:
            running.result()
