"""The loop thread: the one background event loop on which all blocking clients of a process meet.

Rule: it starts with the first lease and ends with the last one; it is a daemon, so that it never keeps an
interpreter alive. A forked child gets a new loop, thread and lock, and never touches the parent's: its
sockets are shared, and closing one here would take it from the parent's selector.

One way only: threads call into the loop, the loop never calls user code.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from microbatch.common.errors import ClientClosed

if TYPE_CHECKING:
    from collections.abc import Coroutine

__all__ = ["LoopThread"]

T = TypeVar("T")
LOOK_EVERY_S = 5.0
STOP_WITHIN_S = 10.0


class LoopThread:
    """A running event loop in a thread of its own. Get it by `lease`, give it back by `release`."""

    _lock: ClassVar[threading.Lock] = threading.Lock()
    _shared: ClassVar[LoopThread | None] = None
    _abandoned: ClassVar[list[object]] = []
    """What a fork left behind, kept from the garbage collector, which would close the parent's sockets."""

    def __init__(self) -> None:
        self._leases = 0
        self._loop = _new_loop()
        self._thread = threading.Thread(target=self._serve, name="microbatch-producer", daemon=True)
        self._thread.start()

    @classmethod
    def lease(cls) -> LoopThread:
        """The process's loop thread, started where none runs."""
        with cls._lock:
            if cls._shared is None:
                cls._shared = cls()
            cls._shared._leases += 1  # noqa: SLF001 - of this very class
            return cls._shared

    def release(self) -> None:
        """Give a lease back; the last one stops the thread."""
        cls = type(self)
        with cls._lock:
            self._leases -= 1
            if self._leases > 0:
                return
            if cls._shared is self:
                cls._shared = None
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(STOP_WITHIN_S)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop and wait for it; the caller's context variables go with it.

        An interrupt of the waiting thread (Ctrl-C) cancels the coroutine.

        Raises:
            ClientClosed: The loop ended meanwhile.
        """
        try:
            future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        except RuntimeError:  # the loop is closed
            coroutine.close()
            raise ClientClosed from None
        try:
            while True:
                try:
                    return future.result(LOOK_EVERY_S)
                except CancelledError:  # only the end of the loop cancels what its caller still waits for
                    raise ClientClosed from None
                except TimeoutError:
                    if future.done():  # in this very moment, or its own time-out such as ResultTimeout
                        return future.result()
                    if not self._thread.is_alive():
                        raise ClientClosed from None
        finally:
            future.cancel()

    @classmethod
    def after_fork(cls) -> None:
        """In the child: start afresh."""
        cls._abandoned.append(cls._shared)
        cls._shared = None
        cls._lock = threading.Lock()  # another thread of the parent may have held it

    @classmethod
    def abandon(cls, leftover: object) -> None:
        """In the child: keep what belongs to the parent, untouched."""
        cls._abandoned.append(leftover)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            rest = asyncio.all_tasks(self._loop)
            for task in rest:
                task.cancel()
            with contextlib.suppress(Exception):  # nobody is left to hear of it
                self._loop.run_until_complete(asyncio.gather(*rest, return_exceptions=True))
                self._loop.run_until_complete(self._loop.shutdown_asyncgens())
                self._loop.run_until_complete(self._loop.shutdown_default_executor())
            self._loop.close()


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop  # noqa: PLC0415 - an optional extra
    except ImportError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


os.register_at_fork(after_in_child=LoopThread.after_fork)
