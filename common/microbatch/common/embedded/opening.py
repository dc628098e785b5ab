"""Resolving a URL from an event loop: the blocking start of an embedded server, in a thread.

Rule: whoever is cancelled while a server starts leaves no server behind.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from microbatch.common.embedded.url import resolve_url

if TYPE_CHECKING:
    from microbatch.common.embedded.server import EmbeddedServer

__all__ = ["open_url"]


async def open_url(url: str) -> tuple[str, EmbeddedServer | None]:
    """As `resolve_url`, without blocking the loop; errors as there."""
    starting = asyncio.ensure_future(asyncio.to_thread(resolve_url, url))
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        starting.add_done_callback(_stop_what_started)
        raise


def _stop_what_started(starting: asyncio.Future[tuple[str, EmbeddedServer | None]]) -> None:
    if starting.cancelled() or starting.exception() is not None:
        return
    server = starting.result()[1]
    if server is not None:
        server.stop()
