"""Patience: do what needs Redis, although Redis may start later than we do."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from microbatch.common.connection import backoff_s
from microbatch.common.errors import AuthenticationFailed, ConnectionFailed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from microbatch.common.clock import Deadline

__all__ = ["patiently"]


async def patiently(deadline: Deadline, act: Callable[[], Awaitable[None]]) -> None:
    """Do what needs Redis until it is done, or the deadline has passed: units start in any order."""
    failures = 0
    while True:
        try:
            return await act()
        except AuthenticationFailed:
            raise
        except ConnectionFailed:
            if deadline.passed():
                raise
        await asyncio.sleep(backoff_s(failures))
        failures += 1
