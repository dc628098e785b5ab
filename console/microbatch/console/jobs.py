"""The jobs of one queue, for operators: list them, look at one, cancel or retry some.

Rule: whatever takes many calls tells after each what it did; each call is safe to repeat, so that what was
cut off can simply be begun again. What a filter means is what its list shows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from microbatch.common import scripts
from microbatch.common.identifiers import check_queue, job_id, local_id
from microbatch.common.keys import QueueKeys
from microbatch.common.scripts import MOST_CANCELLED, RedriveCode
from microbatch.console.dead_letters import DeadLetters
from microbatch.console.job_filter import DEAD, LIVE_STATES, JobFilter
from microbatch.console.job_sheet import read_sheet
from microbatch.console.job_walk import JobWalk

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from microbatch.common.connection import Connection
    from microbatch.common.seals import Seals
    from microbatch.console.job_sheet import JobSheet
    from microbatch.console.job_walk import JobPage

__all__ = ["CANCELLED", "RETRIED", "JobAnswer", "Jobs"]

PAGE: Final = 256
CANCELLED: Final = frozenset({"cancelled"})
"""What `Jobs.cancel` answers for a job that is cancelled now."""
RETRIED: Final = frozenset({"redriven", "due"})
"""What `Jobs.retry` answers for a job that will run."""
_REFUSALS: Final = {
    RedriveCode.REDRIVEN: "redriven",
    RedriveCode.GONE: "gone",
    RedriveCode.NOT_FAILED: "taken",
    RedriveCode.WRONG_TYPE: "foreign",
    RedriveCode.NO_JOB: "garbage",
}


class JobAnswer(NamedTuple):
    """What became of one job.

    Attributes:
        id: The job's full id; of a dead letter that names no valid one, its own.
        answer: What was done (`cancelled`, `redriven`, `due`), or why not: the job's state, `unknown`,
            `foreign` (its key holds something else), `faulty` (what a filter found is no job), `gone` (its
            dead letter is, and with it its payload), `taken` (its id belongs to another job by now),
            `garbage` (its letter holds no job).
    """

    id: str
    answer: str


class Jobs:
    """The jobs of one queue.

    Args:
        connection: Where they are.
        queue: The queue's name.
        seals: Open payloads; None: there are no keys, and sealed ones cannot be shown.

    Raises:
        ValueError: Not a valid queue name.
    """

    def __init__(self, connection: Connection, queue: str, seals: Seals | None = None) -> None:
        self._connection = connection
        self._keys = QueueKeys(check_queue(queue))
        self._letters = DeadLetters(connection, queue, seals)
        self._seals = seals

    async def page(
        self, wanted: JobFilter | None = None, *, after: str | None = None, limit: int = 100
    ) -> JobPage:
        """A part of the list of jobs.

        Args:
            wanted: Which; None: all that are not finished.
            after: Where it begins, as the page before it says; None: at the beginning.
            limit: How many at most. There may be fewer, or none, although more follow: a page never costs
                more than some dozens of short calls.

        Raises:
            ValueError: `after` is no place in this list.
        """
        return await JobWalk(self._connection, self._keys, wanted or JobFilter()).page(after, limit)

    async def pages(self, wanted: JobFilter | None = None) -> AsyncIterator[JobPage]:
        """The whole list, up to 256 jobs at a time."""
        walk = JobWalk(self._connection, self._keys, wanted or JobFilter())
        after: str | None = None
        while True:
            page = await walk.page(after, PAGE)
            yield page
            after = page.after
            if after is None:
                return

    async def show(self, name: str, *, with_payload: bool = False) -> JobSheet | None:
        """All that is known about one job; None where nothing is.

        Args:
            name: Its id, in full or its second half.
            with_payload: Whether to fetch its payload too, where that is still kept.

        Raises:
            ValueError: Not a job id of this queue.
            ProtocolError: Its key holds something else than a job's record.
        """
        local = self._local(name)
        return await read_sheet(
            self._connection, self._keys, local, self._letters, with_payload=with_payload, seals=self._seals
        )

    async def cancel(self, names: Sequence[str]) -> AsyncIterator[list[JobAnswer]]:
        """End these jobs at once, in whatever state they are; up to 64 at a time.

        Raises:
            ValueError: Not a job id of this queue.
        """
        locals_ = [self._local(name) for name in names]
        # It never has a time to live; users who are no operators may not, and are refused here.
        await self._connection.execute("PERSIST", self._keys.gate)
        for start in range(0, len(locals_), MOST_CANCELLED):
            chunk = locals_[start : start + MOST_CANCELLED]
            call = scripts.cancel_all(self._keys, chunk, ttl_ms=scripts.KEPT_MS)
            states = await self._connection.run(call)
            yield [JobAnswer(self._full(local), state) for local, state in zip(chunk, states, strict=True)]

    async def cancel_all(self, wanted: JobFilter) -> AsyncIterator[list[JobAnswer]]:
        """End all jobs that a filter means; one that was begun since it was listed ends too.

        Raises:
            ValueError: It means finished jobs.
        """
        wanted.within(LIVE_STATES)
        async for page in self.pages(wanted):
            sound = [row.id for row in page.jobs if row.id is not None and not row.fault]
            async for step in self.cancel(sound):
                yield step
            if len(sound) < len(page.jobs):
                yield [JobAnswer(row.id or "?", "faulty") for row in page.jobs if row.id is None or row.fault]

    async def retry(self, names: Sequence[str]) -> AsyncIterator[list[JobAnswer]]:
        """Give failed jobs another run, and let scheduled ones run now; up to 256 at a time.

        Raises:
            ValueError: Not a job id of this queue.
        """
        locals_ = list(dict.fromkeys(self._local(name) for name in names))
        failed: dict[str, str] = {}
        for start in range(0, len(locals_), PAGE):
            chunk = locals_[start : start + PAGE]
            answers = await self._connection.run(scripts.run_now(self._keys, chunk))
            told = dict(zip(map(self._full, chunk), answers, strict=True))
            failed |= {one: answer for one, answer in told.items() if answer in {"failed", "unknown"}}
            yield [JobAnswer(one, answer) for one, answer in told.items() if one not in failed]
        if not failed:
            return
        # A letter may outlive its job's record.
        letters = await self._letters.of_jobs(failed)
        yield [
            JobAnswer(one, "unknown" if answer == "unknown" else "gone")
            for one, answer in failed.items()
            if one not in letters
        ]
        owners = {letter.letter_id: one for one, letter in letters.items()}
        async for step in self._redrive(owners):
            yield step

    async def retry_all(self, wanted: JobFilter) -> AsyncIterator[list[JobAnswer]]:
        """The same for all jobs that a filter means, which are to be dead or scheduled.

        Raises:
            ValueError: It means others.
        """
        wanted.within({DEAD, "scheduled"})
        async for page in self.pages(wanted):
            owners = {
                row.letter_id: row.id or row.letter_id for row in page.jobs if row.letter_id is not None
            }
            async for step in self._redrive(owners):
                yield step
            waiting = [row for row in page.jobs if row.letter_id is None and row.id is not None]
            due = [
                row.id or "" for row in waiting if row.due_at and row.due_at.timestamp() * 1000 > page.now_ms
            ]
            if due:
                async for step in self.retry(due):
                    yield step

    async def _redrive(self, owners: dict[str, str]) -> AsyncIterator[list[JobAnswer]]:
        """Give the jobs of these letters another run; the oldest first, which is how they are to run."""
        async for step in self._letters.redrive(list(owners)[::-1]):
            yield [JobAnswer(owners[one.letter_id], _REFUSALS[one.code]) for one in step]

    def _full(self, local: str) -> str:
        return job_id(self._keys.queue, local)

    def _local(self, name: str) -> str:
        return local_id(self._keys.queue, name)
