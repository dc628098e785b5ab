"""Where every thread of this process is: a text for people.

Rule: file, line and function, and the line's own text; never a value of a variable, which may be a secret. It
may be asked from any thread, and what is running goes on.
"""

from __future__ import annotations

import sys
import threading
import traceback

__all__ = ["stacks"]

CUT = "\n... cut"


def stacks(limit_chars: int = 48_000) -> str:
    """The stack of every thread but the caller's, the innermost call last; cut where it is longer."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    own = threading.get_ident()
    parts = []
    for ident, frame in sys._current_frames().items():  # noqa: SLF001 - there is no other way
        if ident != own:
            calls = "".join(traceback.format_stack(frame)).rstrip()
            parts.append(f"thread {names.get(ident, ident)}:\n{calls}")
    text = "\n".join(parts)
    return text if len(text) <= limit_chars else text[:limit_chars] + CUT
