"""Why a worker leaves without a signal: it has used up what it may, an operator ordered it, or a call hangs.

Rule: it only says so, once and with a reason; whoever runs the worker drains it and ends the process. A
supervisor (systemd, Kubernetes) then starts a fresh one.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from microbatch.common.settings import WorkerSettings

__all__ = ["Retirement", "rss_bytes"]

log = logging.getLogger("microbatch.worker")
_STATM = Path("/proc/self/statm")


def rss_bytes() -> int:
    """The memory of this process: its resident set now, or where the system does not say, its peak."""
    try:
        return int(_STATM.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        import resource  # noqa: PLC0415 - not on every system

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


class Retirement:
    """One worker's wish to leave.

    Args:
        settings: `max_batches` and `max_rss_bytes`.
        on_stuck: Called when a call hangs for good.
        rss: How much memory this process has; for tests.
    """

    def __init__(
        self, settings: WorkerSettings, on_stuck: Callable[[], None], rss: Callable[[], int] = rss_bytes
    ) -> None:
        self.why = ""
        self.is_stuck = False
        self.given_up = 0
        self._max_batches = settings.max_batches
        self._max_rss_bytes = settings.max_rss_bytes
        self._on_stuck = on_stuck
        self._rss = rss
        self._batches = 0
        self._wished = asyncio.Event()
        self.is_heeded = False  # whether somebody waits for the wish, and will drain the worker
        self.on_order: Callable[[], None] = lambda: None  # called at once, from any thread

    async def wait(self) -> None:
        """Return when the worker should leave."""
        self.is_heeded = True
        await self._wished.wait()

    def order(self, who: str, post: Callable[[Callable[[], object]], None]) -> None:
        """An operator wants this worker to leave; from any thread.

        Args:
            who: Which operator.
            post: Runs something on the loop.
        """
        if not self.why:
            self.why = f"{who} ordered it"
        post(self._wished.set)
        self.on_order()

    def batch_ended(self) -> None:
        """Count a batch, and look at the memory."""
        self._batches += 1
        if self._max_batches is not None and self._batches >= self._max_batches:
            self._wish(f"max_batches: it has run {self._batches}")
        elif self._max_rss_bytes is not None and (used := self._rss()) > self._max_rss_bytes:
            self._wish(f"max_rss_bytes: it uses {used} of {self._max_rss_bytes}")

    def stuck(self, why: str) -> None:
        """A call hangs and cannot be stopped: this process must end."""
        if not self.is_stuck:
            self.is_stuck = True
            self.why = why
            log.error("%s: this worker claims nothing new and must be restarted", why)
            self._on_stuck()
        self._wished.set()

    def _wish(self, why: str) -> None:
        if not self.why:
            self.why = why
            log.info("leaving to be restarted, %s", why)
        self._wished.set()
