"""Where every thread of this process is, and every task of its event loop: texts for people.

Rule: file, line and function, and the line's own text; never a value of a variable, which may be a secret. It
may be asked from any thread, and what is running goes on.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import traceback
from types import AsyncGeneratorType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["stacks", "task_stacks"]

CUT = "\n... cut"
LIMIT_BYTES = 20_000
MOST_CALLS = 100
_NAMES = (("cr_frame", "cr_await"), ("gi_frame", "gi_yieldfrom"), ("ag_frame", "ag_await"))
"""By which coroutines, generators and async generators tell where they are, and what they wait for."""


def stacks(limit_bytes: int = LIMIT_BYTES) -> str:
    """The stack of every thread but the caller's, the innermost call last; cut where it is longer."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    own = threading.get_ident()
    parts = []
    for ident, frame in sys._current_frames().items():  # noqa: SLF001 - there is no other way
        if ident != own:
            calls = "".join(traceback.format_stack(frame)).rstrip()
            parts.append(f"thread {names.get(ident, ident)}:\n{calls}")
    return _cut("\n".join(parts), limit_bytes)


def task_stacks(loop: asyncio.AbstractEventLoop, limit_bytes: int = LIMIT_BYTES) -> str:
    """What every task of a loop waits for, from its coroutine down to the innermost await; cut likewise.

    One that runs at this moment says where its coroutine was entered: the rest is in its thread's stack.
    """
    parts = []
    for task in sorted(asyncio.all_tasks(loop), key=asyncio.Task.get_name):
        frames = _awaits(task.get_coro())
        calls = "".join(traceback.format_list(traceback.StackSummary.from_list(frames))).rstrip()
        parts.append(f"task {task.get_name()}:\n{calls or '  has not begun, or has just ended'}")
    return _cut("\n".join(parts), limit_bytes)


def _awaits(awaited: Any) -> list[traceback.FrameSummary]:
    """The frames of a coroutine and of what it awaits, as far as Python code is awaited."""
    calls: list[traceback.FrameSummary] = []
    while awaited is not None and len(calls) < MOST_CALLS:
        awaited = _generator_of(awaited)
        names = next((names for names in _NAMES if hasattr(awaited, names[0])), None)
        frame: FrameType | None = getattr(awaited, names[0]) if names else None
        if frame is not None:
            code = frame.f_code
            calls.append(traceback.FrameSummary(code.co_filename, frame.f_lineno, code.co_name))
        awaited = getattr(awaited, names[1]) if names else None
    return calls


def _generator_of(awaited: Any) -> Any:
    """The async generator whose next value this waits for: nothing but the garbage collector tells it."""
    if type(awaited).__name__ not in {"async_generator_asend", "async_generator_athrow"}:
        return awaited
    return next((each for each in gc.get_referents(awaited) if isinstance(each, AsyncGeneratorType)), None)


def _cut(text: str, limit_bytes: int) -> str:
    encoded = text.encode("utf-8", "backslashreplace")
    return encoded[:limit_bytes].decode("utf-8", "ignore") + (CUT if len(encoded) > limit_bytes else "")
