"""Producers whose client is asynchronous: each concurrent caller is a task.

Rule: one event loop per producer, uvloop where that is installed; the clock of a job starts right before its
submit and stops when its result is in its caller's hand.
It never knows which client it drives.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Self, TypeVar

from benchmarks.contenders.contract import Outcome, Producer
from benchmarks.workload import Answer, Payload, payload

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence

__all__ = ["TaskProducer", "loop_name", "run_on_loop"]

T = TypeVar("T")


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415 - optional
    except ImportError:
        return None
    return uvloop.new_event_loop


def loop_name() -> str:
    """Which loop asynchronous contenders run on here."""
    return "asyncio" if _loop_factory() is None else "uvloop"


def run_on_loop(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end on such a loop."""
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(main)


class TaskProducer(Producer):
    """A producer on an event loop; subclasses say how their client does each thing."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner(loop_factory=_loop_factory())
        self.runs_on = loop_name()

    @abstractmethod
    async def open(self) -> None:
        """Connect."""

    @abstractmethod
    async def close(self) -> None:
        """Hang up."""

    @abstractmethod
    async def submit(self, item: Payload) -> None:
        """Submit one job; return when it is accepted."""

    @abstractmethod
    async def submit_many(self, items: Sequence[Payload]) -> None:
        """Submit many jobs; return when all are accepted."""

    @abstractmethod
    async def call(self, item: Payload) -> Any:
        """Submit one job and return its result."""

    @abstractmethod
    async def map(self, items: Sequence[Payload]) -> Sequence[Answer]:
        """Submit many jobs and return their results in order."""

    @abstractmethod
    async def count_waiting(self) -> int:
        """How many jobs the queue holds."""

    def __enter__(self) -> Self:
        self._runner.run(self.open())
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.run(self.close())
        self._runner.close()

    def run_all(self, payloads: Sequence[Payload]) -> Sequence[Answer]:
        """See `Producer`."""
        return self._runner.run(self.map(payloads))

    def submit_each(self, payloads: Sequence[Payload], callers: int) -> None:
        """See `Producer`."""
        self._runner.run(each_of(self.submit, payloads, callers))

    def submit_bulk(self, payloads: Sequence[Payload]) -> None:
        """See `Producer`."""
        self._runner.run(self.submit_many(payloads))

    def waiting(self) -> int:
        """See `Producer`."""
        return self._runner.run(self.count_waiting())

    def arrive(self, payloads: Sequence[Payload], due_s: Sequence[float]) -> list[Outcome]:
        """See `Producer`."""
        return self._runner.run(self._arrive(payloads, due_s))

    def circle(self, callers: int, seconds: float, first: int) -> list[Outcome]:
        """See `Producer`."""
        return self._runner.run(self._circle(callers, seconds, first))

    async def _arrive(self, payloads: Sequence[Payload], due_s: Sequence[float]) -> list[Outcome]:
        outcomes: list[Outcome] = []
        begun_s = time.perf_counter()
        async with asyncio.TaskGroup() as calls:
            for item, due in zip(payloads, due_s, strict=True):
                pause_s = begun_s + due - time.perf_counter()
                if pause_s > 0:
                    await asyncio.sleep(pause_s)
                calls.create_task(self._timed(item, outcomes))
        return outcomes

    async def _circle(self, callers: int, seconds: float, first: int) -> list[Outcome]:
        outcomes: list[Outcome] = []
        numbers = itertools.count(first)
        ends_s = time.perf_counter() + seconds

        async def caller() -> None:
            while time.perf_counter() < ends_s:
                await self._timed(payload(next(numbers)), outcomes)

        async with asyncio.TaskGroup() as group:
            for _ in range(callers):
                group.create_task(caller())
        return outcomes

    async def _timed(self, item: Payload, outcomes: list[Outcome]) -> None:
        begun_s = time.perf_counter()
        answer = await self.call(item)
        outcomes.append(Outcome(item["id"], time.perf_counter() - begun_s, answer))


async def each_of(function: Callable[[T], Awaitable[object]], items: Sequence[T], callers: int) -> None:
    """Await `function` of every item, in that many tasks that take from one supply."""
    supply: Iterator[T] = iter(items)

    async def caller() -> None:
        for item in supply:
            await function(item)

    async with asyncio.TaskGroup() as group:
        for _ in range(callers):
            group.create_task(caller())
