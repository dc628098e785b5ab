"""Isolation: suspects run while nothing else runs in this process.

Rule: a batch runs together with others, or alone; one that is to run alone waits until the others have ended,
and the others wait for it. Without that a suspect that kills the process would take innocents of other slots
and queues along, and nobody could tell who did it. While somebody wants to be alone, nothing more is claimed
here. It knows nothing of Redis.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

__all__ = ["Isolation"]


class Isolation:
    """Who runs together in one process."""

    def __init__(self) -> None:
        self._together = 0
        self._wanting = 0
        self._turn = asyncio.Lock()
        self._changed = asyncio.Condition()
        self._company = _Company(self._enter, self._leave)
        self._on_change: list[Callable[[], None]] = []

    @property
    def is_wanted(self) -> bool:
        """Whether a suspect runs alone, or waits to."""
        return self._wanting > 0

    def on_change(self, callback: Callable[[], None]) -> None:
        """Call this whenever the first suspect wants to be alone, and whenever the last one has run."""
        self._on_change.append(callback)

    def together(self) -> AbstractAsyncContextManager[None]:
        """Run beside others."""
        return self._company

    @contextlib.asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Run when nothing else does."""
        self._want(1)
        try:
            async with self._turn:
                async with self._changed:
                    await self._changed.wait_for(lambda: not self._together)
                yield
        finally:
            self._want(-1)
            await self._tell()

    def _want(self, more: int) -> None:
        was_wanted, self._wanting = self.is_wanted, self._wanting + more
        if was_wanted != self.is_wanted:
            for callback in self._on_change:
                callback()

    async def _enter(self) -> None:
        if self._wanting:
            async with self._changed:
                await self._changed.wait_for(lambda: not self._wanting)
        self._together += 1

    async def _leave(self) -> None:
        self._together -= 1
        if self._wanting:
            await self._tell()

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()


class _Company:
    """Those that run together: every batch enters and leaves, so nothing is made for it."""

    def __init__(self, enter: Callable[[], Awaitable[None]], leave: Callable[[], Awaitable[None]]) -> None:
        self._enter, self._leave = enter, leave

    async def __aenter__(self) -> None:
        await self._enter()

    async def __aexit__(self, *_: object) -> None:
        await self._leave()
