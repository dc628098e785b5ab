"""The schedules of one queue: declare, look at, pause, resume, remove, run now.

Rule: it only declares; the jobs of ticks are put by the queue's workers. What is put ahead goes in the same
step in which a schedule is changed, paused or removed; a job that is due by then runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from microbatch.common import scripts
from microbatch.common.errors import QueueFull, SubmitError
from microbatch.common.identifiers import check_queue, job_id, new_local_id
from microbatch.common.keys import QueueKeys
from microbatch.common.register import make_known
from microbatch.common.schedules.schedule import check_name, tick_headers
from microbatch.common.schedules.status import ScheduleStatus, parse_schedule
from microbatch.common.scripts import MOST_SCHEDULES, NewJob, SubmitCode
from microbatch.common.seals.jobs import sealed_definition
from microbatch.producer.refusals import doubt, refusal

if TYPE_CHECKING:
    from microbatch.common.connection import Connection
    from microbatch.common.schedules.schedule import Schedule
    from microbatch.common.scripts import PutAnswer, ScheduleAction
    from microbatch.common.seals import Seals

__all__ = ["Schedules"]


class Schedules:
    """The schedules of one queue.

    Args:
        connection: Where they are.
        queue: The queue's name.
        max_queue_length: How many jobs the queue may hold, for `run_now`.
        seals: Seal what is declared, and open what is looked at; None: there are no keys.

    Raises:
        ValueError: Not a valid queue name.
    """

    def __init__(
        self, connection: Connection, queue: str, *, max_queue_length: int, seals: Seals | None = None
    ) -> None:
        self._seals = seals
        self._connection = connection
        self._keys = QueueKeys(check_queue(queue))
        self._max_queue_length = max_queue_length

    async def all(self) -> list[ScheduleStatus]:
        """All schedules, by name."""
        read = await self._connection.run(scripts.schedules(self._keys))
        found = [parse_schedule(self._keys.queue, view, read.now_ms, self._seals) for view in read.views]
        return sorted(found, key=lambda schedule: schedule.name)

    async def find(self, name: str) -> ScheduleStatus | None:
        """A schedule by its name.

        Raises:
            ValueError: No schedule can have this name.
        """
        read = await self._connection.run(scripts.schedules(self._keys, "named", check_name(name)))
        if not read.views:
            return None
        return parse_schedule(self._keys.queue, read.views[0], read.now_ms, self._seals)

    async def put(self, schedule: Schedule) -> PutAnswer:
        """Declare a schedule; one of the same name is replaced, and begins anew where it differs.

        Returns:
            `new`, `changed` or `same`.

        Raises:
            ValueError: It is of another queue.
            SubmitError: The queue has as many schedules as it may have.
        """
        if schedule.queue != self._keys.queue:
            raise ValueError(f"this schedule is of queue {schedule.queue!r}, not of {self._keys.queue!r}")
        await make_known(self._connection, self._keys.queue)
        answer = await self._connection.run(
            scripts.schedule_put(
                self._keys, schedule.name, sealed_definition(self._seals, schedule), source="operator"
            )
        )
        if answer == "full":
            raise SubmitError(
                f"queue {self._keys.queue} has {MOST_SCHEDULES:,} schedules already: remove some"
            )
        return answer

    async def pause(self, name: str) -> bool:
        """Let no further tick come; whether there is such a schedule. Ticks of that time are not made up."""
        return await self._change(name, "pause")

    async def resume(self, name: str) -> bool:
        """Go on with the next tick from now; whether there is such a schedule."""
        return await self._change(name, "resume")

    async def remove(self, name: str) -> bool:
        """Forget a schedule; whether there was one. A worker whose code declares it brings it back."""
        return await self._change(name, "remove")

    async def run_now(self, name: str) -> str | None:
        """Submit one job like those of its ticks at once, also where it is paused; its ticks do not change.

        Returns:
            The job's id; None where there is no such schedule.

        Raises:
            QueueFull: The queue holds `max_queue_length` jobs.
            QueueDraining: The queue takes nothing new.
        """
        read = await self._connection.run(scripts.schedules(self._keys, "named", check_name(name)))
        if not read.views:
            return None
        fields = read.views[0].fields
        headers = tick_headers(fields.get(b"headers", b"\x80"), read.now_ms)
        new = NewJob(
            new_local_id(),
            fields.get(b"digest", b""),
            fields.get(b"payload", b""),
            b"%b\n%b" % (fields.get(b"options", b""), headers),
        )
        reply = await self._connection.run(
            scripts.submit(self._keys, "", [new], max_queue_length=self._max_queue_length)
        )
        job, code = job_id(self._keys.queue, new.local), reply.codes[0] if reply.codes else SubmitCode.NEW
        if code in {SubmitCode.NEW, SubmitCode.SAME}:  # the same: the answer to an earlier attempt was lost
            return job
        told = QueueFull(self._keys.queue, retry_after_s=reply.retry_after_ms / 1000)
        refused = told if code is SubmitCode.FULL else refusal(job, code, 0.0)
        raise doubt(refused) if reply.in_doubt else refused

    async def _change(self, name: str, action: ScheduleAction) -> bool:
        return await self._connection.run(scripts.schedule_change(self._keys, check_name(name), action))
