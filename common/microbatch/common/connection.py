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

import redis
import redis.asyncio as aioredis
from redis.asyncio import connection as aioconnection
from redis.backoff import NoBackoff
from redis.maint_notifications import MaintNotificationsConfig
from redis.retry import Retry

from microbatch.common.errors import SettingsError
from microbatch.common.lines import Lines, packing
from microbatch.common.redis_errors import FOREIGN_ERRORS, Verdict, translated, verdict
from microbatch.common.redis_url import redact_url

if TYPE_CHECKING:
    from microbatch.common.scripts.script import Call, Script

__all__ = ["BlockingConnection", "Connection", "Endpoint", "backoff_s"]

T = TypeVar("T")
BACKOFF_FIRST_S = 0.02
BACKOFF_MOST_S = 0.5


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
    """Runs calls for one event loop, over lines that open when they are needed."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        options = _parse(endpoint.url) | _options(endpoint)
        # `_insist` bounds the time. redis-py's own bound (5 s where none is given) sends through `wait_for`,
        # which on some Pythons loses a cancellation.
        options["socket_timeout"] = None
        if options["connection_class"] is aioconnection.UnixDomainSocketConnection:
            del options["socket_keepalive"]
        options["connection_class"] = packing(options["connection_class"])
        pool = aioredis.ConnectionPool(**options)
        self._redis: aioredis.Redis = aioredis.Redis.from_pool(pool)
        self._lines = Lines(pool)

    async def run(self, call: Call[T], *, timeout_s: float | None = None) -> T:
        """Run a script, repeating it while errors may pass.

        Args:
            call: What to run.
            timeout_s: Longest time in all; None: the endpoint's `command_timeout_s`.

        Raises:
            ConnectionFailed: No answer in time.
            ServerError: An answer that repeating cannot mend.
        """
        command = ("EVALSHA", call.script.sha, 1, call.prefix, *call.args)
        return call.parse(await self._insist(command, call.script, timeout_s))

    async def execute(self, *command: str | bytes | float, timeout_s: float | None = None) -> Any:
        """Run one plain command that is safe to repeat; errors as in `run`."""
        return await self._insist(command, None, timeout_s)

    async def _insist(
        self, command: tuple[str | bytes | float, ...], script: Script | None, timeout_s: float | None
    ) -> Any:
        limit_s = self.endpoint.command_timeout_s if timeout_s is None else timeout_s
        now_s = asyncio.get_running_loop().time
        ends_s = now_s() + limit_s
        try:
            # Half the time for one attempt: a silent connection leaves time for a fresh one.
            async with asyncio.timeout(limit_s / 2):
                return await self._lines.send(*command)
        except FOREIGN_ERRORS as error:
            failed = error
        failures = 0
        while True:
            pause_s = await self._mend(failed, script, failures)
            left_s = ends_s - now_s() - pause_s
            if left_s <= 0:
                raise translated(failed, self.endpoint.shown) from failed
            await asyncio.sleep(pause_s)
            try:
                async with asyncio.timeout(min(left_s, limit_s / 2)):
                    return await self._lines.send(*command)
            except FOREIGN_ERRORS as error:
                # A time-out of ours says less than what went wrong before it.
                failed = failed if isinstance(error, TimeoutError) else error
                failures += 1

    async def _mend(self, failed: BaseException, script: Script | None, failures: int) -> float:
        """Do what can be done about an error; returns how long to wait before the next attempt."""
        todo = verdict(failed)
        if todo is Verdict.REFUSE:
            raise translated(failed, self.endpoint.shown) from failed
        if todo is Verdict.LOAD and script is not None:
            with contextlib.suppress(*FOREIGN_ERRORS):  # the next attempt tells
                async with asyncio.timeout(self.endpoint.command_timeout_s / 2):
                    await self._lines.send("SCRIPT", "LOAD", script.text)
            # Where loading is refused, asking again at once would be a busy loop.
            return 0.0 if failures == 0 else backoff_s(failures)
        if todo is Verdict.RECONNECT:
            await self._lines.drop_free()
        return backoff_s(failures)

    def pubsub(self) -> aioredis.client.PubSub:
        """A subscriber on a connection of its own."""
        return self._redis.pubsub()

    async def close(self) -> None:
        """Close every connection."""
        await self._lines.close()
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
                    # Where loading is refused, asking again at once would be a busy loop.
                    pause_s = 0.0 if failures == 0 else pause_s
                elif todo is Verdict.RECONNECT:
                    self._redis.connection_pool.disconnect(inuse_connections=False)
            time.sleep(pause_s)
            failures += 1

    def close(self) -> None:
        """Close the connection."""
        self._redis.close()
