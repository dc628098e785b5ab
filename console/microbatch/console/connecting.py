"""A client for one command: Redis is waited for, then spoken to.

Rule: a command begins its work when Redis has answered once; until `connect_timeout_s` it is asked again and
again, with jittered pauses. A refused password is an answer: it ends the wait.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from microbatch.common.clock import Deadline, SystemClock
from microbatch.common.connection import Connection, Endpoint
from microbatch.common.connection.patience import greet, patiently
from microbatch.common.embedded import open_url
from microbatch.console.admin import Admin
from microbatch.console.options import connection_options
from microbatch.producer import AsyncClient, ClientSettings

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncIterator

__all__ = ["connected", "connected_admin", "reached"]


@asynccontextmanager
async def connected(arguments: argparse.Namespace) -> AsyncIterator[AsyncClient]:
    """A client by the command's options; open inside the block.

    Raises:
        ConnectionFailed: Redis did not answer within `connect_timeout_s`.
        SettingsError: An option or a variable has a wrong value.
    """
    async with _reached(arguments) as (url, settings), AsyncClient(url, settings=settings) as client:
        yield client


@asynccontextmanager
async def connected_admin(arguments: argparse.Namespace) -> AsyncIterator[Admin]:
    """The operators' client by the command's options; errors as from `connected`."""
    async with _reached(arguments) as (url, settings), Admin(url, settings=settings) as admin:
        yield admin


@asynccontextmanager
async def _reached(arguments: argparse.Namespace) -> AsyncIterator[tuple[str, ClientSettings]]:
    settings = ClientSettings.from_command_line(connection_options(arguments))
    url, server = await open_url(settings.redis_url)
    try:
        async with _answering(url, settings):
            pass
        yield url, settings
    finally:
        if server is not None:
            await asyncio.to_thread(server.stop)


@asynccontextmanager
async def reached(arguments: argparse.Namespace) -> AsyncIterator[Connection]:
    """A connection by the command's options, without a client; errors as from `connected`."""
    async with _reached(arguments) as (url, settings), _answering(url, settings) as connection:
        yield connection


@asynccontextmanager
async def _answering(url: str, settings: ClientSettings) -> AsyncIterator[Connection]:
    """A connection to a Redis that has answered once."""
    connection = Connection(Endpoint(url, settings.command_timeout_s, "microbatch:console"))
    try:
        deadline = Deadline.after(settings.connect_timeout_s, SystemClock())
        await patiently(deadline, lambda: greet(connection, deadline))
        yield connection
    finally:
        await connection.close()
