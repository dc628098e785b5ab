"""Daemon threads that run the plain functions of a processor.

Rule: threads are stable, one per slot, so that with one slot the thread-bound things that `setup` made (a
database connection, a device context) can be used by `process`. Daemon, so that a hung call can be abandoned:
an executor's threads would keep the interpreter from leaving.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Awaitable, Callable
from queue import SimpleQueue
from typing import Any

__all__ = ["ProcessorExit", "SlotThreads", "guarded"]

_Task = tuple[Callable[[], Any], asyncio.Future[Any], asyncio.AbstractEventLoop]


class SlotThreads:
    """As many threads as there are slots, started when first needed."""

    def __init__(self, name: str, size: int) -> None:
        self._name = name
        self.size = size
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._busy = 0

    async def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Run `function(*args)` in a thread, in the caller's context; its exception is raised here."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        context = contextvars.copy_context()
        self._busy += 1
        try:
            if len(self._threads) < min(self._busy, self.size):
                thread = threading.Thread(
                    target=self._run, name=f"{self._name}-{len(self._threads)}", daemon=True
                )
                thread.start()
                self._threads.append(thread)
            self._tasks.put((lambda: context.run(function, *args), future, loop))
            return await future
        finally:
            self._busy -= 1
            del future  # where it raises, its traceback has this frame: that would be a cycle

    def stop(self) -> None:
        """Let the threads end after what they are running; nobody waits for them."""
        for _ in self._threads:
            self._tasks.put(None)

    def _run(self) -> None:
        while (task := self._tasks.get()) is not None:
            function, future, loop = task
            error: BaseException | None = None
            result: Any = None
            try:
                result = function()
            except BaseException as raised:  # noqa: BLE001 - sys.exit() in a processor fails its batch only
                error = raised
            try:
                loop.call_soon_threadsafe(_deliver, future, result, error)
            except RuntimeError:
                return  # the loop is closed: the call was abandoned, and its jobs were handed back
            del task, function, future, loop, error, result


def _deliver(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    elif isinstance(error, Exception) and not isinstance(error, StopIteration):
        future.set_exception(error)
    else:  # futures and loops treat these as their own signals
        future.set_exception(ProcessorExit(error))


async def guarded(answer: Awaitable[Any]) -> Any:
    """Await what a user's function made; whatever it raises, the loop's own signals keep their meaning.

    Raises:
        ProcessorExit: It raised SystemExit, CancelledError or the like.
        Exception: What it raised.
    """

    async def run() -> tuple[str, Any]:
        try:
            return "answered", await answer
        except BaseException as error:  # noqa: BLE001 - see above
            return "raised", error

    task = asyncio.ensure_future(run())
    try:
        await asyncio.wait((task,))
    except asyncio.CancelledError:  # ours
        task.cancel()
        raise
    kind, value = ("raised", asyncio.CancelledError()) if task.cancelled() else task.result()
    if kind == "raised":
        try:
            raise value if isinstance(value, Exception) else ProcessorExit(value)
        finally:  # as above
            del task, value
    return value


class ProcessorExit(Exception):
    """A processor raised SystemExit, KeyboardInterrupt or the like; `raised` is what it raised."""

    def __init__(self, raised: BaseException) -> None:
        super().__init__(str(raised))
        self.raised = raised
