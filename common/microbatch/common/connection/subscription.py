"""One pub/sub connection that mends itself and says when it did.

Rule: a message is only a hint. redis-py would reconnect silently and lose what was published meanwhile,
so the connection is rebuilt here, and `on_connected` is called after every (re)subscription: whoever
relies on messages looks at the records then. A silent connection is pinged, so that a half-open socket is
found.

It never interprets a message, and never lets redis-py reconnect or resubscribe by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from typing import TYPE_CHECKING, Any, Protocol

from microbatch.common.connection.endpoint import backoff_s
from microbatch.common.errors import ClientClosed
from microbatch.common.outage import Outage
from microbatch.common.redis_errors import FOREIGN_ERRORS, Verdict, translated, verdict
from microbatch.common.stopping import stop

if TYPE_CHECKING:
    from collections.abc import Callable

    from microbatch.common.connection.endpoint import Endpoint
    from microbatch.common.errors import MicrobatchError

__all__ = ["Source", "Subscription"]

log = logging.getLogger("microbatch.common")
PING_EVERY_S = 5.0
SILENT_AFTER_S = 2.2 * PING_EVERY_S


class Source(Protocol):
    """Where lines to listen over come from; a `Connection` is one."""

    endpoint: Endpoint

    async def open_line(self) -> Any:
        """A connected line of the caller's own."""

    def is_stale(self, line: Any) -> bool:
        """Whether an open line leads to the wrong server by now."""


class Subscription:
    """Channels of one client, over one connection that opens with the first of them.

    Args:
        source: Whose server to subscribe at.
        on_message: Called on the loop with (channel, data); must not raise and must not block.
        on_connected: Called on the loop whenever all channels are subscribed again.
    """

    def __init__(
        self,
        source: Source,
        on_message: Callable[[bytes, bytes], None],
        on_connected: Callable[[], None],
    ) -> None:
        self._source = source
        self._on_message = on_message
        self._on_connected = on_connected
        self._channels: dict[bytes, asyncio.Future[MicrobatchError | None]] = {}
        self._line: Any = None  # while it is usable
        self._last_heard_s = 0.0
        self._outage = Outage()
        self._last_error: BaseException = TimeoutError("no answer to SUBSCRIBE")
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    async def add(self, channel: str, *, timeout_s: float) -> None:
        """Subscribe, and return once the server has confirmed; what is published after that arrives.

        Raises:
            ConnectionFailed: No confirmation within `timeout_s`, or the server refused.
            ClientClosed: It was closed.
        """
        if self._closed:
            raise ClientClosed
        name = channel.encode()
        confirmed = self._channels.get(name)
        if confirmed is None:
            confirmed = self._channels[name] = asyncio.get_running_loop().create_future()
            if self._task is None:
                self._task = asyncio.create_task(self._run(), name="microbatch-subscription")
            elif self._line is not None:
                # A failure here is the reader's to mend: it subscribes to all channels again.
                with contextlib.suppress(*FOREIGN_ERRORS):
                    await self._send("SUBSCRIBE", name)
        await asyncio.wait((confirmed,), timeout=timeout_s)  # not wait_for: others wait for it as well
        if not confirmed.done():
            raise translated(self._last_error, self._source.endpoint.shown) from self._last_error
        error = confirmed.result()
        if error is not None:
            raise error

    async def drop(self, channel: str) -> None:
        """Listen to a channel no more; harmless where nobody did."""
        if self._channels.pop(channel.encode(), None) is not None:
            with contextlib.suppress(*FOREIGN_ERRORS):  # a line that is lost has no channels any more
                await self._send("UNSUBSCRIBE", channel)

    async def close(self) -> None:
        """Stop listening; whoever waits for a confirmation gets `ClientClosed`."""
        self._closed = True
        if self._task is not None:
            await stop(self._task)
            self._task = None
        for confirmed in self._channels.values():
            if not confirmed.done():
                confirmed.set_result(ClientClosed())

    async def _send(self, *command: str | bytes) -> None:
        # `send_command` would connect a lost line again, without its channels.
        if self._line is not None and self._line.is_connected:
            await self._line.send_command(*command, check_health=False)

    async def _run(self) -> None:
        failures = 0
        while self._channels:
            patience = asyncio.timeout(self._source.endpoint.command_timeout_s)
            probe: asyncio.Task[None] | None = None
            try:
                async with patience:
                    self._line = await self._source.open_line()
                    await self._send("SUBSCRIBE", *self._channels)
                    await self._listen(self._channels.copy())
                    failures = 0
                    self._note_success()
                    self._on_connected()
                    patience.reschedule(None)
                    probe = asyncio.create_task(self._probe(patience), name="microbatch-probe")
                    await self._listen({})
            except FOREIGN_ERRORS as error:
                self._note(error)
            except Exception:
                # A bug of ours, or of redis-py: a task that ended here would leave this process deaf.
                log.exception("the subscription broke; subscribing again")
            finally:
                line, self._line = self._line, None
                await self._hang_up(line, probe)
            await asyncio.sleep(backoff_s(failures))
            failures += 1
        self._task = None

    async def _listen(self, unconfirmed: dict[bytes, asyncio.Future[MicrobatchError | None]]) -> None:
        """Read until none of `unconfirmed` is left, or for ever where it was empty."""
        once = bool(unconfirmed)
        read, now_s = self._line.read_response, asyncio.get_running_loop().time
        while unconfirmed or not once:
            reply = await read(timeout=math.inf)
            self._last_heard_s = now_s()
            kind = reply[0] if type(reply) is list else None
            if kind == b"message":
                self._on_message(reply[1], reply[2])
            elif kind == b"subscribe":
                unconfirmed.pop(reply[1], None)
                confirmed = self._channels.get(reply[1])
                if confirmed is not None and not confirmed.done():
                    confirmed.set_result(None)

    async def _probe(self, patience: asyncio.Timeout) -> None:
        """Ping a line, and end the patience with one that is silent, or leads to the wrong server by now."""
        now_s = asyncio.get_running_loop().time
        with contextlib.suppress(*FOREIGN_ERRORS):  # the reader sees the same error and mends it
            while now_s() - self._last_heard_s < SILENT_AFTER_S and not self._source.is_stale(self._line):
                await self._send("PING")
                await asyncio.sleep(PING_EVERY_S)
            patience.reschedule(now_s())

    def _note_success(self) -> None:
        lasted_s = self._outage.ends(asyncio.get_running_loop().time())
        if lasted_s is not None:
            log.info("subscribed again after %.1f s", lasted_s)

    def _note(self, error: BaseException) -> None:
        self._last_error = error
        if self._outage.fails(asyncio.get_running_loop().time()):
            log.warning("subscription lost (%s); subscribing again", type(error).__name__)
        if verdict(error) is not Verdict.REFUSE:
            return
        # Waiting does not help those that were never confirmed, and they would break the line for all others.
        for name, confirmed in list(self._channels.items()):
            if not confirmed.done():
                del self._channels[name]
                confirmed.set_result(translated(error, self._source.endpoint.shown))

    async def _hang_up(self, line: Any, probe: asyncio.Task[None] | None) -> None:
        if probe is not None:
            await stop(probe)
        if line is not None:
            with contextlib.suppress(*FOREIGN_ERRORS):
                await line.disconnect(nowait=True)
