"""Stopping tasks: cancel them until they are done.

Rule: whoever starts a task stops it, here. It never raises what the task raised: those tasks answer to their
callers by other ways.
"""

from __future__ import annotations

import asyncio
from typing import Any

__all__ = ["stop"]

AGAIN_AFTER_S = 0.1


async def stop(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks and return when all of them are done."""
    left = set(tasks)
    while left:
        for task in left:
            # Again and again: Python 3.11's `wait_for`, under redis-py's sends, swallows a cancellation that
            # comes in the moment of its success, and a close that asked once would wait for ever.
            task.cancel()
        _, left = await asyncio.wait(left, timeout=AGAIN_AFTER_S)
    for task in tasks:
        if not task.cancelled():
            task.exception()  # taken note of: or the loop would complain that nobody did
