"""Connections to Redis: how they are opened, how a call is repeated, where errors are translated.

Rule: every time-out and every retry is set here, explicitly. redis-py's defaults would re-send commands
that were executed already and cut blocking reads; so redis-py retries nothing, and this module retries
script calls, each of which is safe to repeat, with jittered backoff until `command_timeout_s` has passed.
An error that leaves this module is a `MicrobatchError` with redis-py's error as its `__cause__`.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import hiredis
import redis
import redis.asyncio as aioredis
from redis.asyncio import connection as aioconnection
from redis.backoff import NoBackoff
from redis.maint_notifications import MaintNotificationsConfig
from redis.retry import Retry

from microbatch.common.errors import SettingsError
from microbatch.common.redis_errors import FOREIGN_ERRORS, Verdict, translated, verdict
from microbatch.common.settings import redact_url

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from microbatch.common.scripts.script import Call

__all__ = ["BlockingConnection", "Connection", "Endpoint", "backoff_s"]

T = TypeVar("T")
BACKOFF_FIRST_S = 0.02
BACKOFF_MOST_S = 0.5
POOL_SIZE = 16


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where Redis is and how patient to be.

    Attributes:
        url: `redis://`, `rediss://` or `unix://`.
        command_timeout_s: Longest time of a call, its repetitions included.
        name: Shown by `CLIENT LIST`.
    """

    url: str
    command_timeout_s: float
    name: str

    @property
    def shown(self) -> str:
        """The URL without its password."""
        return redact_url(self.url)


def backoff_s(failures: int) -> float:
    """How long to wait after that many failures in a row: full jitter, 20 ms doubling up to 0.5 s."""
    return random.uniform(0, min(BACKOFF_MOST_S, BACKOFF_FIRST_S * 2 ** min(failures, 10)))  # noqa: S311 - jitter


class _Packing:
    """Encode commands in C: redis-py's asyncio connections do it in Python, per argument."""

    def pack_command(self, *args: Any) -> list[bytes]:
        return [hiredis.pack_command(args)]


class _Tcp(_Packing, aioconnection.Connection):
    pass


class _Tls(_Packing, aioconnection.SSLConnection):
    pass


class _Unix(_Packing, aioconnection.UnixDomainSocketConnection):
    pass


_PACKING: dict[type, type] = {
    aioconnection.Connection: _Tcp,
    aioconnection.SSLConnection: _Tls,
    aioconnection.UnixDomainSocketConnection: _Unix,
}


def _options(endpoint: Endpoint) -> dict[str, Any]:
    return {
        "protocol": 2,
        "decode_responses": False,
        "client_name": endpoint.name,
        "retry": Retry(NoBackoff(), 0),
        "socket_connect_timeout": endpoint.command_timeout_s / 2,
        "socket_keepalive": True,
        "health_check_interval": 0,
        # Without this every connection to a plain server begins with an error reply.
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
    }


def _parse(url: str) -> dict[str, Any]:
    try:
        options = dict(aioconnection.parse_url(url))
    except (ValueError, AttributeError):
        # Not chained: redis-py's sentence may quote the password.
        raise SettingsError(f"redis_url {redact_url(url)!r} cannot be used") from None
    options.setdefault("connection_class", aioconnection.Connection)
    return options


class Connection:
    """Runs calls for one event loop, over a pool of connections that open when they are needed."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        options = _options(endpoint) | _parse(endpoint.url)
        # `_insist` bounds the time. redis-py's own bound (5 s where none is given) sends through `wait_for`,
        # which on some Pythons loses a cancellation.
        options["socket_timeout"] = None
        options["connection_class"] = _PACKING[options["connection_class"]]
        if options["connection_class"] is _Unix:
            del options["socket_keepalive"]
        pool = aioredis.BlockingConnectionPool(max_connections=POOL_SIZE, timeout=None, **options)
        self._redis: aioredis.Redis = aioredis.Redis.from_pool(pool)

    async def run(self, call: Call[T], *, timeout_s: float | None = None) -> T:
        """Run a script, repeating it while errors may pass.

        Args:
            call: What to run.
            timeout_s: Longest time in all; None: the endpoint's `command_timeout_s`.

        Raises:
            ConnectionFailed: No answer in time.
            ServerError: An answer that repeating cannot mend.
        """
        script, keys_and_args = call.script, (call.prefix, *call.args)

        async def attempt() -> Any:
            return await self._redis.execute_command("EVALSHA", script.sha, 1, *keys_and_args)

        async def load() -> None:
            await self._redis.execute_command("SCRIPT", "LOAD", script.text)

        return call.parse(await self._insist(attempt, load, timeout_s))

    async def execute(self, *command: str | bytes | float, timeout_s: float | None = None) -> Any:
        """Run one plain command that is safe to repeat; errors as in `run`."""

        async def attempt() -> Any:
            return await self._redis.execute_command(*command)

        async def load() -> None:
            raise AssertionError("a plain command loads no script")

        return await self._insist(attempt, load, timeout_s)

    async def _insist(
        self,
        attempt: Callable[[], Awaitable[Any]],
        load: Callable[[], Awaitable[None]],
        timeout_s: float | None,
    ) -> Any:
        limit_s = self.endpoint.command_timeout_s if timeout_s is None else timeout_s
        failures = 0
        last: BaseException | None = None
        try:
            async with asyncio.timeout(limit_s):
                while True:
                    try:
                        # Half the time for one attempt: a silent connection leaves time for a fresh one.
                        async with asyncio.timeout(limit_s / 2):
                            return await attempt()
                    except FOREIGN_ERRORS as error:
                        last = error
                        todo = verdict(error)
                        if todo is Verdict.REFUSE:
                            raise translated(error, self.endpoint.shown) from error
                        if todo is Verdict.LOAD:
                            with contextlib.suppress(*FOREIGN_ERRORS):  # the next attempt tells
                                await load()
                            failures += 1
                            continue
                        if todo is Verdict.RECONNECT:
                            await self._redis.connection_pool.disconnect(inuse_connections=False)
                    await asyncio.sleep(backoff_s(failures))
                    failures += 1
        except TimeoutError as error:
            cause = last or error
            raise translated(cause, self.endpoint.shown) from cause

    def pubsub(self) -> aioredis.client.PubSub:
        """A subscriber on a connection of its own."""
        return self._redis.pubsub()

    async def close(self) -> None:
        """Close every connection."""
        await self._redis.aclose()


class BlockingConnection:
    """Runs calls for one thread, over one connection: for the heartbeat, which must not need the loop."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        options = _options(endpoint)
        options["socket_timeout"] = endpoint.command_timeout_s / 2
        if endpoint.url.startswith("unix:"):
            del options["socket_keepalive"]
        self._redis = redis.Redis.from_url(endpoint.url, max_connections=2, **options)

    def run(self, call: Call[T], *, timeout_s: float | None = None) -> T:
        """Run a script as `Connection.run` does, blocking this thread.

        Raises:
            ConnectionFailed: No answer in time.
            ServerError: An answer that repeating cannot mend.
        """
        script = call.script
        ends_s = time.monotonic() + (self.endpoint.command_timeout_s if timeout_s is None else timeout_s)
        failures = 0
        while True:
            try:
                return call.parse(
                    self._redis.execute_command("EVALSHA", script.sha, 1, call.prefix, *call.args)
                )
            except FOREIGN_ERRORS as error:
                todo = verdict(error)
                pause_s = backoff_s(failures)
                if todo is Verdict.REFUSE or time.monotonic() + pause_s >= ends_s:
                    raise translated(error, self.endpoint.shown) from error
                if todo is Verdict.LOAD:
                    with contextlib.suppress(*FOREIGN_ERRORS):
                        self._redis.execute_command("SCRIPT", "LOAD", script.text)
                    pause_s = 0.0
                elif todo is Verdict.RECONNECT:
                    self._redis.connection_pool.disconnect(inuse_connections=False)
            time.sleep(pause_s)
            failures += 1

    def close(self) -> None:
        """Close the connection."""
        self._redis.close()
