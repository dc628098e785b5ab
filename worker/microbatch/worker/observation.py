"""What can be seen of a worker from outside: wires the tally, the health and the pages that show them.

Rule: the agents tell `observer`, and know nothing else of this. Without `monitoring_address` nothing listens.
The pages are there before the first processor is set up and until the last is torn down.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from importlib.metadata import version
from typing import TYPE_CHECKING

from microbatch.common.bind_address import read_bind_address
from microbatch.worker.health import Health
from microbatch.worker.log_binding import LogBinding
from microbatch.worker.observer import Observer, Observers
from microbatch.worker.pages import TEXT, Page, PageServer, verdict_page
from microbatch.worker.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from microbatch.common.settings import QueueSettings, WorkerSettings
    from microbatch.worker.heartbeat import Heartbeat
    from microbatch.worker.queue_agent import QueueAgent

__all__ = ["Observation"]

log = logging.getLogger("microbatch.worker")


class Observation:
    """The outside view of one worker.

    Args:
        settings: The worker's.
        queues: Those of its queues.
        worker_id: Whose.

    Attributes:
        observer: Whom the agents tell.
        tally: What was counted.
        health: Whether it is alive and ready.
    """

    def __init__(self, settings: WorkerSettings, queues: Sequence[QueueSettings], worker_id: str) -> None:
        self.tally = Tally(queues)
        observers: list[Observer] = [LogBinding(worker_id), self.tally]
        if settings.tracing:
            from microbatch.worker.tracing import BatchTracing  # noqa: PLC0415 - an extra

            observers.append(BatchTracing(worker_id))
        self.observer: Observer = Observers(observers)
        self.health = Health(
            liveness_limit_s=settings.liveness_limit_s,
            command_timeout_s=settings.command_timeout_s,
            heartbeat_limit_s=settings.heartbeat_limit_s,
        )
        self._settings = settings
        self._pages: PageServer | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tick_is_due = False

    def open(self) -> None:
        """Serve the pages, if an address is set; called on the loop.

        Raises:
            AddressUnavailable: Nothing can listen there now.
            SettingsError: Nothing can listen there.
        """
        if self._settings.monitoring_address is None:
            return
        self._loop = asyncio.get_running_loop()
        pages = {
            "/livez": lambda _accept: verdict_page(self.health.why_not_live(time.monotonic())),
            "/readyz": lambda _accept: verdict_page(self.health.why_not_ready(time.monotonic())),
            "/startupz": lambda _accept: verdict_page(self.health.why_not_started()),
            "/metrics": _metrics_page(self.tally),
        }
        address = read_bind_address(self._settings.monitoring_address)
        self._pages = PageServer(address, pages, self._look)
        log.info("metrics and health at http://%s", self._pages.address.within_reach)

    def started(self, agents: Sequence[QueueAgent], heartbeat: Heartbeat) -> None:
        """The worker is ready."""
        self.health.started(agents, heartbeat, time.monotonic())

    async def close(self) -> None:
        """Serve nothing any more."""
        pages, self._pages = self._pages, None
        if pages is not None:
            await asyncio.to_thread(pages.close)

    def _look(self) -> None:
        """Ask the loop for a sign of life, unless it owes one already; in the pages' thread."""
        if self._loop is not None and not self._tick_is_due:
            self._tick_is_due = True
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to ask
                self._loop.call_soon_threadsafe(self._tick)

    def _tick(self) -> None:
        self._tick_is_due = False
        self.health.ticked(time.monotonic())


def _metrics_page(tally: Tally) -> Callable[[str], Page]:
    try:
        from microbatch.worker.metrics import (  # noqa: PLC0415 - an extra
            TallyCollector,
            exposition,
            own_registry,
        )
    except ImportError:
        log.warning("no metrics: install microbatch[metrics]")
        return lambda _accept: Page(501, TEXT, b"install microbatch[metrics]\n")
    registry = own_registry(TallyCollector(tally, version("microbatch")))
    return lambda accept: Page(200, *exposition(registry, accept))
