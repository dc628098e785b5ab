"""The submitter: the flights that carry jobs to one queue.

Rule: whoever hands jobs over gets one future for all of them together; what the script answered, or what
went wrong, is that future's result and never its exception, so that an answer that nobody waits for any
more warns about nothing. Jobs that were handed over in one tick leave together. Cancelling the future
before its flight leaves takes its jobs back; later it changes nothing.

It never repeats a refused job: `admission.py` decides that.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from microbatch.common import scripts
from microbatch.common.errors import ClientClosed
from microbatch.common.scripts import SubmitCode
from microbatch.common.stopping import stop
from microbatch.producer.coalescer import Coalescer, FlightLimits

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping, Sequence

    from microbatch.common.connection import Connection
    from microbatch.common.keys import QueueKeys
    from microbatch.common.scripts import NewJob
    from microbatch.producer.server_clock import ServerClock

__all__ = ["FLIGHT", "Landing", "Mixed", "Submitter"]

FLIGHT = FlightLimits()
LEAST_SHARE_OF_TIME = 0.25
GROUP = 32


@dataclass(frozen=True, slots=True)
class Mixed:
    """Not every job was new: a code for each, and when room is likely where some found none.

    Or too few replicas have them: `reached` says how many, and is None where that is no question. `firsts`
    has, by index, the local id of the job that has the unique key. `in_doubt`: whether an earlier attempt got
    no answer, so that jobs that were refused may be accepted yet, until `ends_s` of the loop's clock.
    """

    codes: list[SubmitCode]
    retry_after_s: float
    reached: int | None = None
    firsts: Mapping[int, str] = field(default_factory=dict)
    in_doubt: bool = False
    ends_s: float = 0.0


Landing = Mixed | Exception | None
"""What became of a parcel: None where every job was new; an error where nobody knows or none was taken."""


class _Parcel:
    """Jobs that were handed over together."""

    __slots__ = ("count", "ends_s", "jobs", "landed", "since_s", "size_bytes")

    def __init__(
        self, jobs: Sequence[NewJob], size_bytes: int, ends_s: float | None, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.jobs = jobs
        self.ends_s = ends_s
        self.count = len(jobs)
        self.size_bytes = size_bytes
        self.since_s = loop.time()
        self.landed: asyncio.Future[Landing] = loop.create_future()

    def land(self, landing: Landing) -> None:
        if not self.landed.done():
            self.landed.set_result(landing)


class Submitter:
    """Sends jobs to one queue.

    Args:
        connection: Where to.
        clock: The queue's server's.
        keys: The queue's keys.
        client: The client's id: who is told the results.
        max_queue_length: How many jobs the queue may hold.
        replicas: How many replicas must have a job before it has landed.
    """

    def __init__(
        self,
        connection: Connection,
        clock: ServerClock,
        keys: QueueKeys,
        client: str,
        *,
        max_queue_length: int,
        replicas: int = 0,
    ) -> None:
        self.clock = clock
        self.replicas = replicas
        self._connection = connection
        self._keys = keys
        self._client = client
        self._max_queue_length = max_queue_length
        self._coalescer: Coalescer[_Parcel] = Coalescer(FLIGHT)
        self._loop = asyncio.get_running_loop()
        self._departing = False
        self._flights: set[asyncio.Task[None]] = set()

    def send(
        self, jobs: Sequence[NewJob], size_bytes: int, ends_s: float | None = None
    ) -> asyncio.Future[Landing]:
        """Hand jobs over; they leave at the end of this tick, or with a later flight.

        After `ends_s` (of the loop's clock) the server refuses them, whenever they arrive.
        """
        parcel = _Parcel(jobs, size_bytes, ends_s, self._loop)
        self._coalescer.add(parcel)
        self._depart_soon()
        return parcel.landed

    async def close(self, timeout_s: float) -> None:
        """Let what was handed over land; what has not after `timeout_s` gets `ClientClosed`."""
        ends_s = self._loop.time() + timeout_s
        self._depart()
        while self._flights and (left_s := ends_s - self._loop.time()) > 0:
            await asyncio.wait(self._flights, timeout=left_s)
            self._depart()
        for parcel in self._coalescer.clear():
            parcel.land(ClientClosed())
        await stop(*self._flights)

    def _depart_soon(self) -> None:
        if not self._departing and self._coalescer.waiting:
            self._departing = True
            self._launch(self._depart_next())

    async def _depart_next(self) -> None:
        # It flies itself: a task that only made another one would cost a lone job a turn of the loop.
        self._departing = False
        if parcels := self._next_flight():
            self._depart()
            await self._fly(parcels)

    def _depart(self) -> None:
        while parcels := self._next_flight():
            self._launch(self._fly(parcels))

    def _next_flight(self) -> list[_Parcel]:
        while flight := self._coalescer.take():
            parcels = [parcel for parcel in flight if not parcel.landed.cancelled()]
            if parcels:
                return parcels
            self._coalescer.landed()
        return []

    def _launch(self, flight: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(flight, name="microbatch-flight")
        self._flights.add(task)
        task.add_done_callback(self._flights.discard)

    async def _fly(self, parcels: list[_Parcel]) -> None:
        jobs = [job for parcel in parcels for job in parcel.jobs]
        # The flight has the time that its oldest job has left, so that no caller waits twice as long.
        limit_s = self._connection.endpoint.command_timeout_s
        waited_s = self._loop.time() - parcels[0].since_s
        landing: Exception | scripts.SubmitReply = ClientClosed()  # stays where the flight is cancelled
        timeout_s = max(limit_s * LEAST_SHARE_OF_TIME, limit_s - waited_s)
        ends_s = self._loop.time() + timeout_s
        try:
            landing = await self._carry(parcels, jobs, ends_s)
            if landing.codes is not None and SubmitCode.LATE in landing.codes:
                # In time by our clock: the server's was set. Ask for its time, and try once more.
                self.clock.doubt()
                ends_s = self._loop.time() + timeout_s
                landing = await self._carry(parcels, jobs, ends_s)
        except Exception as error:  # noqa: BLE001 - whatever it is, the callers must hear it, not this task
            landing = error
        finally:
            self._coalescer.landed()
            self._distribute(landing, parcels, ends_s)
            # Not at once: whoever was just answered may submit again in the next tick and share the flight.
            self._depart_soon()

    async def _carry(self, parcels: list[_Parcel], jobs: list[NewJob], ends_s: float) -> scripts.SubmitReply:
        """One call; once its callers have given up, the server will not execute it any more."""
        await self.clock.refresh()
        for parcel in parcels:
            if parcel.ends_s is not None and parcel.ends_s < ends_s:  # else what holds for all is stricter
                not_after_ms = self.clock.at_ms(parcel.ends_s)
                for job in parcel.jobs:
                    job.not_after_ms = not_after_ms
        call = scripts.submit(
            self._keys,
            self._client,
            jobs,
            max_queue_length=self._max_queue_length,
            not_after_ms=self.clock.at_ms(ends_s),
        )
        left_s = ends_s - self._loop.time()
        if not self.replicas:
            return await self._connection.run(call, timeout_s=left_s)
        return await self._carry_and_wait(call, parcels, left_s)

    async def _carry_and_wait(
        self, call: scripts.Call[scripts.SubmitReply], parcels: list[_Parcel], left_s: float
    ) -> scripts.SubmitReply:
        # Not longer than any of the callers waits for the answer.
        callers_s = [parcel.ends_s - self._loop.time() for parcel in parcels if parcel.ends_s is not None]
        reply, reached = await self._connection.run_replicated(
            call, self.replicas, answer_in_s=min([left_s, *callers_s]), timeout_s=left_s
        )
        return reply if reached >= self.replicas else replace(reply, reached=reached)

    def _land_some(self, parcels: list[_Parcel]) -> None:
        """Answer callers in groups, a tick each: those who submit again at once form several flights then.

        Answered all together, callers in lockstep would leave Redis idle while they encode, and wait while it
        works.
        """
        for parcel in parcels[:GROUP]:
            parcel.land(None)
        if len(parcels) > GROUP:
            self._loop.call_soon(self._land_some, parcels[GROUP:])

    def _distribute(
        self, landing: Exception | scripts.SubmitReply, parcels: list[_Parcel], ends_s: float
    ) -> None:
        if isinstance(landing, Exception):
            for parcel in parcels:
                parcel.land(landing)
            return
        reached = landing.reached
        if landing.codes is None and reached is None:
            self._land_some(parcels)
            return
        codes = landing.codes or [SubmitCode.NEW] * sum(parcel.count for parcel in parcels)
        first = 0
        for parcel in parcels:
            beyond = first + parcel.count
            own = codes[first:beyond]
            firsts = {
                index - first: local for index, local in landing.firsts.items() if first <= index < beyond
            }
            first = beyond
            mixed = any(own) or reached is not None
            retry_after_s = landing.retry_after_ms / 1000
            told = Mixed(own, retry_after_s, reached, firsts, landing.in_doubt, ends_s) if mixed else None
            parcel.land(told)
