"""Outcomes on their way while their batch still runs.

Rule: what comes in one turn of the loop, or while a call is under way, is settled in one call, and calls
follow one another. Whoever leaves it leaves nothing behind: all that was put is settled then.

It knows nothing of processors or Redis.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from microbatch.common.scripts import Outcome
    from microbatch.worker.executor import Settle

__all__ = ["Pump"]


class Pump:
    """Hands outcomes on as they come. Use it as `async with`; `put` may be called from any thread.

    Args:
        settle: Takes outcomes; None: nobody takes any before the end, and `kept` has them.
    """

    def __init__(self, settle: Settle | None) -> None:
        self._settle = settle
        self._loop = asyncio.get_running_loop()
        self._ready: deque[Outcome] = deque()
        self._task: asyncio.Task[None] | None = None
        self._signalled = False
        self._leaving = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leaving = True
        if kind is not None and issubclass(kind, asyncio.CancelledError):  # the batch was handed back
            if self._task is not None:
                self._task.cancel()
            return
        if self._task is not None:
            await self._task
        await self._hand_on()
        self._settle = None  # it leads to the outcomes, of which a cause leads here: that would be a cycle

    @property
    def kept(self) -> list[Outcome]:
        """What nobody has taken."""
        return list(self._ready)

    def put(self, outcomes: Iterable[Outcome]) -> None:
        """Some more."""
        self._ready.extend(outcomes)
        if self._settle is not None and not self._signalled:
            self._signalled = True
            with contextlib.suppress(RuntimeError):  # the loop is closed: the call was abandoned
                self._loop.call_soon_threadsafe(self._begin)

    def _begin(self) -> None:
        self._signalled = False
        if not self._leaving and (self._task is None or self._task.done()):
            self._task = self._loop.create_task(self._hand_on(), name="microbatch-partial-results")

    async def _hand_on(self) -> None:
        while self._ready and self._settle is not None:
            taken = [self._ready.popleft() for _ in range(len(self._ready))]
            await self._settle(taken)
