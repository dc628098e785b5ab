"""The ticker: sees to it that every tick of a queue's schedules has its job.

Rule: any number of workers do this beside each other, without a leader. Each reads, plans (`tick_plan`), and
puts what it has planned only where the schedule is still as it was read: one of them wins. It looks when it
starts, before its first claim, and when a heartbeat says that a schedule wants it; a schedule that it cannot
understand is left to others, and told once.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from microbatch.common import scripts
from microbatch.common.errors import MicrobatchError, ProcessorError, ProtocolError, ServerFull
from microbatch.common.schedules.schedule import Schedule, Timetable, tick_headers, tick_job
from microbatch.common.scripts import MOST_SCHEDULES, TickJob
from microbatch.common.stopping import stop
from microbatch.worker.tick_plan import plan

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from microbatch.common.connection import Connection
    from microbatch.common.keys import QueueKeys
    from microbatch.common.schedules.schedule import Definition
    from microbatch.common.scripts import ScheduleView

__all__ = ["Ticker"]

log = logging.getLogger("microbatch.worker")
AT_ONCE = 256


class Ticker:
    """The schedules of one queue, as one worker sees to them.

    Args:
        connection: Where they are.
        keys: The queue's keys.
        declared: The schedules in this worker's code.
        defined: How one of them is stored.
    """

    def __init__(
        self,
        connection: Connection,
        keys: QueueKeys,
        declared: Sequence[Schedule],
        defined: Callable[[Schedule], Definition] = Schedule.definition,
    ) -> None:
        self._defined = defined
        self._connection = connection
        self._keys = keys
        self._declared = declared
        self._stopped = False
        self._looking: asyncio.Task[None] | None = None
        self._told: set[tuple[str, bytes]] = set()

    async def begin(self) -> None:
        """Declare this worker's own schedules, and see to all of the queue.

        A full server takes no ticks, and keeps no worker from starting: it is there to drain it.

        Raises:
            MicrobatchError: Redis cannot be reached or refuses.
            ProcessorError: The queue has too many schedules.
        """
        for schedule in self._declared:
            await self._declare(schedule)
        try:
            await self._see_to_due()
        except ServerFull as error:
            log.warning("queue %s: its schedules wait for room: %s", self._keys.queue, error)

    def look(self) -> None:
        """See to the schedules that want it, soon; called on the loop."""
        if not self._stopped and (self._looking is None or self._looking.done()):
            self._looking = asyncio.create_task(self._look(), name=f"microbatch-ticks-{self._keys.queue}")

    async def stop(self) -> None:
        """Look no more."""
        self._stopped = True
        if self._looking is not None:
            await stop(self._looking)

    async def _see_to_due(self) -> None:
        read = await self._connection.run(scripts.schedules(self._keys, "due", limit=AT_ONCE))
        for view in read.views:
            await self._advance(view, read.now_ms)

    async def _declare(self, schedule: Schedule) -> None:
        answer = await self._connection.run(
            scripts.schedule_put(self._keys, schedule.name, self._defined(schedule), source="code")
        )
        if answer == "full":
            raise ProcessorError(
                f"schedule {schedule.name!r}: queue {schedule.queue!r} has {MOST_SCHEDULES:,} schedules "
                "already; `microbatch cron remove` makes room"
            )
        if answer != "same":
            log.info("queue %s: schedule %s is %s", schedule.queue, schedule.name, answer)

    async def _look(self) -> None:
        try:
            await self._see_to_due()
        except MicrobatchError as error:
            log.warning("queue %s: cannot see to its schedules: %s", self._keys.queue, error)
        except Exception:  # a bug of ours must not end the worker: the next heartbeat looks again
            log.exception("queue %s: seeing to its schedules broke", self._keys.queue)

    async def _advance(self, view: ScheduleView, now_ms: int) -> None:
        last_ms = view.number("last_ms")
        try:
            timetable = Timetable.decoded(view.fields.get(b"timetable", b""))
            headers = view.fields.get(b"headers", b"")
            if last_ms is None:
                raise ProtocolError("it does not say how far it has come")  # noqa: TRY301 - told as the others
            planned = plan(timetable, last_ms, view.waiting, now_ms)
            expires_in_ms = timetable.expires_in_ms
            put = [
                TickJob(
                    tick,
                    tick_job(view.name, tick),
                    tick_headers(headers, tick),
                    None if expires_in_ms is None else tick + expires_in_ms,
                )
                for tick in planned.put
            ]
        except ProtocolError as error:
            self._tell_once(view, error)
            return
        take_back = [TickJob(tick, tick_job(view.name, tick)) for tick in planned.take_back]
        call = scripts.schedule_advance(
            self._keys, view, put=put, take_back=take_back, last_ms=planned.last_ms, look_ms=planned.look_ms
        )
        if await self._connection.run(call) and planned.dropped:
            log.warning(
                "queue %s: schedule %s has missed ticks (%s)", self._keys.queue, view.name, timetable.missed
            )

    def _tell_once(self, view: ScheduleView, error: ProtocolError) -> None:
        version = (view.name, view.fields.get(b"revision", b""))
        if version not in self._told:
            self._told.add(version)
            log.error("queue %s: schedule %s is left to others: %s", self._keys.queue, view.name, error)
