"""Patience: do what needs Redis, although Redis may start later than we do.

Rule: only a server that is out of reach is waited for. One that refuses us has answered, and would again.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from microbatch.common.connection.endpoint import backoff_s
from microbatch.common.errors import AuthenticationFailed, ConnectionFailed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from microbatch.common.clock import Deadline
    from microbatch.common.connection.connection import Connection
    from microbatch.common.errors import MicrobatchError

__all__ = ["greet", "is_out_of_reach", "patiently"]

LEAST_ATTEMPT_S = 0.2


def is_out_of_reach(error: MicrobatchError) -> bool:
    """Whether the server did not answer, rather than refuse us, our rights or what we asked."""
    return isinstance(error, ConnectionFailed) and not isinstance(error, AuthenticationFailed)


async def patiently(deadline: Deadline, act: Callable[[], Awaitable[None]]) -> None:
    """Do what needs Redis again and again, with jittered pauses, until it is done or the time is over.

    Raises:
        ConnectionFailed: Redis was out of reach until the deadline.
        MicrobatchError: It refuses.
    """
    failures = 0
    while True:
        try:
            return await act()
        except ConnectionFailed as error:
            left_s = deadline.left_s()
            if not is_out_of_reach(error) or (left_s is not None and left_s < LEAST_ATTEMPT_S):
                raise
        pause_s = backoff_s(failures)
        await asyncio.sleep(pause_s if left_s is None else min(pause_s, left_s))
        failures += 1


async def greet(connection: Connection, deadline: Deadline) -> None:
    """Have Redis answer once; an attempt takes no longer than the deadline allows.

    Raises:
        ConnectionFailed: No answer in time.
    """
    limit_s, left_s = connection.endpoint.command_timeout_s, deadline.left_s()
    patience_s = limit_s if left_s is None else max(LEAST_ATTEMPT_S, min(left_s, limit_s))
    await connection.execute("PING", timeout_s=patience_s)
