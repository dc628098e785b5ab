"""The blocking handle of a job.

Rule: a handle is usable from any thread, and in a forked child, where it asks through the child's own
client.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from microbatch.producer.handle import ticket_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from microbatch.common.jobs.status import JobStatus
    from microbatch.common.jobs.update import JobUpdate, LogLine
    from microbatch.producer.async_client import AsyncClient
    from microbatch.producer.handle import AsyncJobHandle
    from microbatch.producer.portal import Portal

__all__ = ["JobHandle"]


class JobHandle:
    """A job that was submitted, here or elsewhere.

    Drop it, and it costs nothing: the job goes on, and `client.job(id)` finds it again.

    Example:
        >>> job = client.submit("embed", "hello")
        >>> vector = job.result(timeout_s=5)
    """

    __slots__ = ("_inner", "_pid", "_portal")

    def __init__(self, portal: Portal, inner: AsyncJobHandle) -> None:
        self._portal = portal
        self._inner = inner
        self._pid = os.getpid()

    @property
    def id(self) -> str:
        """The full id, `queue/local`: enough to find the job from any host."""
        return self._inner.id

    @property
    def queue(self) -> str:
        """The queue's name."""
        return self._inner.queue

    @property
    def result_key(self) -> str:
        """The Redis key of the job's record: a hash whose `state` and, once final, `result` can be read."""
        return self._inner.result_key

    def result(self, timeout_s: float | None = None) -> Any:
        """Wait for the result. May be called again, and by several threads: all get the same object.

        Args:
            timeout_s: How long to wait, in seconds; None waits without end. The job goes on afterwards.

        Raises:
            MicrobatchError: As from `AsyncJobHandle.result`.
        """
        ticket = ticket_of(self._inner)
        if ticket.state is not None:  # saves the way to the loop and back
            return ticket.outcome()

        async def wait(client: AsyncClient) -> Any:
            return await self.on(client).result(timeout_s)

        return self._portal.run(wait)

    def status(self) -> JobStatus:
        """Look where the job is now. One round trip; waits for nothing.

        Raises:
            MicrobatchError: As from `AsyncJobHandle.status`.
        """

        async def look(client: AsyncClient) -> JobStatus:
            return await self.on(client).status()

        return self._portal.run(look)

    def logs(self) -> list[LogLine]:
        """The lines of the job's log; see `AsyncJobHandle.logs`.

        Raises:
            MicrobatchError: As from `AsyncJobHandle.status`.
        """

        async def look(client: AsyncClient) -> list[LogLine]:
            return await self.on(client).logs()

        return self._portal.run(look)

    def subscribe(self) -> Iterator[JobUpdate]:
        """Where the job is now, and then everything that happens to it; see `AsyncJobHandle.subscribe`.

        Raises:
            MicrobatchError: As from `AsyncJobHandle.status`.
        """
        return self._portal.iterate(lambda client: self.on(client).subscribe())

    def cancel(self) -> bool:
        """End the job, whatever state it is in; see `AsyncJobHandle.cancel`.

        Raises:
            MicrobatchError: As from `AsyncJobHandle.cancel`.
        """

        async def end(client: AsyncClient) -> bool:
            return await self.on(client).cancel()

        return self._portal.run(end)

    def on(self, client: AsyncClient) -> AsyncJobHandle:
        """The asynchronous handle, for this package; call it on the client's loop."""
        if self._pid != os.getpid():  # the handle that was forked waits for a loop that does not run here
            self._inner = client.job(self._inner.id)
            self._pid = os.getpid()
        return self._inner

    def __repr__(self) -> str:
        return repr(self._inner).replace("AsyncJobHandle", "JobHandle", 1)
