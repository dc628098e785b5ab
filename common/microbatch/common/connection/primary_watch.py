"""The watch: hears from a sentinel that another server is the primary now.

Rule: a planned failover leaves the old primary writable for seconds, and what is written to it then is lost
when it is demoted. So whoever keeps lines to a primary drops them as soon as a sentinel says so; the next
look-up asks that same sentinel, because the others may not know yet. While the watch itself was cut off
anything may have happened, so lines are dropped then as well. It never looks up anything itself.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from microbatch.common.connection.openings import ToServer
from microbatch.common.connection.subscription import Subscription
from microbatch.common.errors import MicrobatchError
from microbatch.common.stopping import stop

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from microbatch.common.connection.endpoint import Endpoint
    from microbatch.common.topology.sentinels import Sentinels
    from microbatch.common.topology.site import Address

__all__ = ["PrimaryWatch"]

CHANNEL = "+switch-master"


class PrimaryWatch:
    """One subscription at one sentinel, another one when that is lost.

    Args:
        endpoint: Time-outs.
        sentinels: Who may be listened to.
        options: As from `line_options`, for sentinels.
        on_switch: Called on the loop when the primary is, or may be, another one.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        sentinels: Sentinels,
        options: Mapping[str, Any],
        on_switch: Callable[[], None],
    ) -> None:
        self.endpoint = endpoint
        self._sentinels = sentinels
        self._options = options
        self._on_switch = on_switch
        self._subscription = Subscription(self, self._heard, self._connected)
        self._heard_from: Address | None = None
        self._was_connected = False
        self._starting: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to listen, in the background; harmless when repeated."""
        if self._starting is None:
            self._starting = asyncio.create_task(self._start(), name="microbatch-watch")

    async def _start(self) -> None:
        while True:
            try:
                await self._subscription.add(CHANNEL, timeout_s=self.endpoint.command_timeout_s)
            except MicrobatchError:  # logged by the subscription: it tries again, or was refused or closed
                await asyncio.sleep(self.endpoint.command_timeout_s)
            else:
                return

    async def open_line(self) -> Any:
        """A line to the sentinel that is asked first."""
        sentinel = self._heard_from = self._sentinels.first
        opening = ToServer(self._options, sentinel)
        line = opening.line()
        try:
            async with asyncio.timeout(self.endpoint.patience_s):
                await opening.connect(line)
        except BaseException:
            self._sentinels.distrust()
            raise
        return line

    def is_stale(self, _line: Any) -> bool:
        """A sentinel stays one."""
        return False

    def _heard(self, _channel: bytes, data: bytes) -> None:
        # "service old-host old-port new-host new-port"
        if data.partition(b" ")[0].decode("utf-8", "replace") == self._sentinels.service:
            if self._heard_from is not None:
                self._sentinels.prefer(self._heard_from)
            self._on_switch()

    def _connected(self) -> None:
        if self._was_connected:
            self._on_switch()
        self._was_connected = True

    async def close(self) -> None:
        """Stop listening."""
        if self._starting is not None:
            await stop(self._starting)
        await self._subscription.close()
