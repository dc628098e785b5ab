"""The portal: how blocking callers of one client reach its asynchronous half on the loop thread.

Rule: nothing starts before the first call. A forked child finds the portal empty and opens its own
client; what belongs to the parent is neither used nor closed there. After `close` every call is
`ClientClosed`.

It never runs user code on the loop.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import threading
import warnings
import weakref
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from microbatch.common.errors import ClientClosed
from microbatch.producer.async_client import AsyncClient
from microbatch.producer.loop_thread import LoopThread

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator

    from microbatch.common.settings import ClientSettings

__all__ = ["BlockingCallWarning", "Portal"]

T = TypeVar("T")
_CALLER = 4
"""Frames from `warnings.warn` up to the user's line."""


class BlockingCallWarning(UserWarning):
    """A blocking client was used in a thread that runs an event loop; said once per process."""


class Portal:
    """One client's way to the loop thread.

    Args:
        url: As for `AsyncClient`.
        settings: As for `AsyncClient`.

    Raises:
        SettingsError: A URL or a setting that cannot be used.
    """

    _live: ClassVar[weakref.WeakSet[Portal]] = weakref.WeakSet()
    _warned: ClassVar[bool] = False

    def __init__(self, url: str | None, settings: ClientSettings | None) -> None:
        self._arguments = url, settings
        self._make()  # an unusable setting shows here, not at the first call
        self._lock = threading.Lock()
        self._closed = False
        self._open: tuple[LoopThread, AsyncClient] | None = None
        self._live.add(self)

    def run(self, call: Callable[[AsyncClient], Coroutine[Any, Any, T]]) -> T:
        """Run what `call` makes of the asynchronous client, and wait for it.

        Raises:
            ClientClosed: The client is closed.
        """
        thread, client = self._open or self.open()
        if not Portal._warned:
            self._warn_in_loop()
        return thread.run(call(client))

    def iterate(self, make: Callable[[AsyncClient], AsyncIterator[T]]) -> Iterator[T]:
        """Give what an asynchronous iterator of the client gives, one after the other.

        Raises:
            ClientClosed: The client is closed.
        """

        async def begin(client: AsyncClient) -> AsyncIterator[T]:
            return make(client)

        async def following(_: AsyncClient) -> tuple[T, ...]:
            try:
                return (await anext(source),)
            except StopAsyncIteration:  # it could not travel through a future
                return ()

        async def end(_: AsyncClient) -> None:
            if isinstance(source, AsyncGenerator):
                await source.aclose()

        source = self.run(begin)
        try:
            while found := self.run(following):
                yield found[0]
        finally:
            with contextlib.suppress(ClientClosed):
                self.run(end)

    def open(self) -> tuple[LoopThread, AsyncClient]:
        """Connect, unless that was done; errors as from `AsyncClient.open`."""
        with self._lock:
            if self._closed:
                raise ClientClosed
            if self._open is None:
                thread, client = LoopThread.lease(), self._make()
                try:
                    thread.run(client.open())
                except BaseException:
                    thread.release()
                    raise
                self._open = thread, client
            return self._open

    def close(self) -> None:
        """Close the client and give the thread back. Harmless when repeated."""
        with self._lock:
            self._closed = True
            opened, self._open = self._open, None
        if opened is not None:
            thread, client = opened
            try:
                thread.run(client.close())
            finally:
                thread.release()

    def __repr__(self) -> str:
        state = "closed" if self._closed else "not open" if self._open is None else "open"
        return f"<{type(self).__name__} {state}>"

    def _make(self) -> AsyncClient:
        url, settings = self._arguments
        return AsyncClient(url, settings=settings)

    def _warn_in_loop(self) -> None:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return
        Portal._warned = True
        warnings.warn(
            "Client blocks the event loop that runs in this thread; use AsyncClient there",
            BlockingCallWarning,
            stacklevel=_CALLER,
        )

    @classmethod
    def at_exit(cls) -> None:
        """Close what the program left open, as well as it goes."""
        for portal in list(cls._live):
            with contextlib.suppress(Exception):  # there is nobody left to tell
                portal.close()

    @classmethod
    def after_fork(cls) -> None:
        """In the child: leave what is the parent's, and open anew at the next call."""
        for portal in list(cls._live):
            LoopThread.abandon(portal._open)  # noqa: SLF001 - here and below: of this very class
            portal._open = None  # noqa: SLF001
            # Another thread of the parent may have held it.
            portal._lock = threading.Lock()  # noqa: SLF001


atexit.register(Portal.at_exit)
os.register_at_fork(after_in_child=Portal.after_fork)
