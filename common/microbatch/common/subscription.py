"""One pub/sub connection that mends itself and says when it did.

Rule: a message is only a hint. redis-py would reconnect silently and lose what was published meanwhile, so
the connection is rebuilt here, and `on_connected` is called after every (re)subscription: whoever relies on
messages looks at the records then. A silent connection is probed, so that a half-open socket is found.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

from microbatch.common.connection import Connection, backoff_s
from microbatch.common.redis_errors import FOREIGN_ERRORS

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis.asyncio.client import PubSub

__all__ = ["Subscription"]

log = logging.getLogger("microbatch.common")
PROBE_S = 5.0


class Subscription:
    """Channels of one process, over one connection.

    Args:
        connection: Whose server to subscribe at.
        on_message: Called on the loop with (channel, data); must not raise and must not block.
        on_connected: Called on the loop whenever all channels are subscribed (again).
    """

    def __init__(
        self,
        connection: Connection,
        on_message: Callable[[bytes, bytes], None],
        on_connected: Callable[[], None],
    ) -> None:
        self._connection = connection
        self._on_message = on_message
        self._on_connected = on_connected
        self._channels: dict[str, asyncio.Event] = {}
        self._pubsub: PubSub | None = None
        self._task: asyncio.Task[None] | None = None

    async def add(self, *channels: str) -> None:
        """Subscribe, and return once the server has confirmed; what is published after that arrives."""
        fresh = [name for name in channels if name not in self._channels]
        for name in fresh:
            self._channels[name] = asyncio.Event()
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="microbatch-subscription")
        elif fresh and self._pubsub is not None:
            # A failure here is the reader's to mend: it subscribes to all channels again.
            with contextlib.suppress(*FOREIGN_ERRORS):
                await self._pubsub.subscribe(*fresh)
        for name in channels:
            await self._channels[name].wait()

    async def close(self) -> None:
        """Stop listening."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _run(self) -> None:
        failures = 0
        while True:
            pubsub = self._connection.pubsub()
            try:
                known = tuple(self._channels)
                await pubsub.subscribe(*known)
                self._pubsub = pubsub
                late = [name for name in self._channels if name not in known]
                if late:  # added while the first subscription was on its way
                    await pubsub.subscribe(*late)
                await self._listen(pubsub)
            except FOREIGN_ERRORS as error:
                log.warning("subscription lost (%s); subscribing again", type(error).__name__)
                failures += 1
            finally:
                self._pubsub = None
                for confirmed in self._channels.values():
                    confirmed.clear()
                with contextlib.suppress(*FOREIGN_ERRORS):
                    await asyncio.shield(asyncio.ensure_future(pubsub.aclose()))
            await asyncio.sleep(backoff_s(failures))

    async def _listen(self, pubsub: PubSub) -> None:
        connected = False
        probed = False
        while True:
            reply = await pubsub.parse_response(block=False, timeout=PROBE_S)
            if reply is None:
                if probed:
                    raise TimeoutError("a silent connection")
                await pubsub.ping()
                probed = True
                continue
            probed = False
            kind = reply[0] if isinstance(reply, list) else b"pong"
            if kind == b"message":
                self._on_message(reply[1], reply[2])
            elif kind == b"subscribe":
                name = reply[1].decode()
                if name in self._channels:
                    self._channels[name].set()
                if not connected and all(confirmed.is_set() for confirmed in self._channels.values()):
                    connected = True
                    self._on_connected()
