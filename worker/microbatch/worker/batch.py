"""What a processor sees: a batch of jobs, and what it may answer.

Rule: these are views of what Redis delivered; nothing here talks to Redis or knows how a batch came about.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Iterator, Mapping, Sequence
from copy import copy
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, overload

from microbatch.common.identifiers import job_id
from microbatch.common.log_context import bound
from microbatch.worker.job_log import JobLog

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from microbatch.common.jobs.entry import Entry
    from microbatch.worker.notes import Notes

__all__ = [
    "Batch",
    "BatchAnswer",
    "BatchReason",
    "BatchResults",
    "Job",
    "Retry",
    "notes_of",
    "refitted",
    "token_of",
]

P = TypeVar("P")
R = TypeVar("R")

BatchReason = Literal["size", "wait", "recovery", "budget"]
"""Why a batch left: full; its oldest job waited long enough; jobs of a dead or leaving worker; its bytes."""

BatchResults = Sequence[R | Exception] | Mapping[str, R | Exception]
"""What `process` answers: one result per job in order, or by job id; an exception fails that job alone."""


BatchAnswer = (
    BatchResults[R]
    | Awaitable[BatchResults[R]]
    | Iterator[tuple["Job[P]", R | Exception]]
    | AsyncIterator[tuple["Job[P]", R | Exception]]
)
"""What `process` is: a function, a coroutine function, or a generator of either kind."""


class Retry(Exception):
    """Ask for another run: returned in a job's place, or raised for the whole batch.

    Attributes:
        delay_s: How long to wait before the next run, in seconds; None leaves it to the queue's backoff.
    """

    def __init__(self, reason: str = "", *, delay_s: float | None = None) -> None:
        super().__init__(reason or "the processor asked for another run")
        self.delay_s = delay_s


class Job(Generic[P]):
    """One item of work.

    Attributes:
        payload: What the producer submitted.
        queue: The queue's name.
        headers: What the producer sent along; empty where it sent nothing.
    """

    __slots__ = ("_entry", "_notes", "headers", "payload", "queue")

    def __init__(
        self,
        queue: str,
        entry: Entry,
        payload: P,
        headers: Mapping[str, Any],
        notes: Notes | None = None,
    ) -> None:
        self.queue = queue
        self._entry = entry
        self._notes = notes
        self.payload = payload
        self.headers = headers

    @property
    def id(self) -> str:
        """The full id, `queue/local`: the same in every run, so it makes side effects idempotent."""
        return job_id(self.queue, self._entry.local)

    def bound(self) -> AbstractContextManager[None]:
        """Let what is logged within be said to be about this job: `with job.bound(): logging.info(...)`."""
        return bound(job_id=self.id)

    @property
    def kind(self) -> str:
        """Which kind of job it is, as submitted with `kind=`; empty where it was submitted without."""
        kind = self.headers.get("kind", "")
        return kind if isinstance(kind, str) else ""

    @property
    def attempt(self) -> int:
        """Which run of the job this is, from 1."""
        return self._entry.attempt

    @property
    def cancelled(self) -> bool:
        """Whether the job was cancelled while it runs: its result will be dropped, so work on it can stop."""
        return self._entry.cancelled

    @property
    def enqueued_at(self) -> datetime:
        """When the job was accepted, by Redis's clock."""
        return datetime.fromtimestamp(self._entry.enqueued_ms / 1000, UTC)

    @property
    def priority(self) -> int:
        """Higher goes first; 0 is the default."""
        return self._entry.priority

    @property
    def cost(self) -> int:
        """What the producer says that it takes, in a unit of its choice; 1 is the default."""
        return self._entry.cost

    @property
    def batch_key(self) -> str | None:
        """Only jobs of one key ride together; None where the producer named none."""
        return self._entry.batch_key or None

    @property
    def deadline(self) -> datetime | None:
        """By when the job must have started, by Redis's clock; None where there is no deadline."""
        expires_ms = self._entry.expires_ms
        return None if expires_ms is None else datetime.fromtimestamp(expires_ms / 1000, UTC)

    @property
    def log(self) -> JobLog:
        """The job's own log, to be read by its id from anywhere: `job.log.info("...")`, from any thread."""
        return JobLog(self._notes, self._entry)

    def progress(self, fraction: float, text: str = "") -> None:
        """Say how far the job is: its status shows it. From any thread, at no cost.

        Args:
            fraction: From 0 to 1; what lies outside is taken as the nearer end.
            text: What to say besides, such as `"page 3 of 7"`; cut at 512 bytes.

        Raises:
            ValueError: The fraction is not a number.
        """
        if math.isnan(fraction):
            raise ValueError("a job's progress is a number from 0 to 1, not NaN")
        if self._notes is not None:  # None: a job that a unit test made
            self._notes.progress(self._entry, min(1.0, max(0.0, fraction)), text)

    def __copy__(self) -> Job[P]:
        return Job(self.queue, self._entry, self.payload, self.headers, self._notes)

    def __repr__(self) -> str:
        return f"<Job {self.id} attempt={self.attempt}>"


def refitted(job: Job[Any], payload: Any) -> Job[Any]:
    """The same job with its payload in another form."""
    other = copy(job)
    other.payload = payload
    return other


def token_of(job: Job[Any]) -> str:
    """Which delivery a job came with."""
    return job._entry.token  # noqa: SLF001 - the one door to it


def notes_of(batch: Sequence[Job[Any]]) -> Notes | None:
    """Where what is said about the jobs of a batch is kept; None where nobody keeps it."""
    return batch[0]._notes if batch else None  # noqa: SLF001 - the one door to it


class Batch(Sequence[Job[P]]):
    """The jobs of one call, oldest first.

    Attributes:
        id: The batch's id; also in the status of each of its jobs.
        queue: The queue's name.
        reason: Why it left when it did.
    """

    __slots__ = ("_jobs", "id", "queue", "reason")

    def __init__(self, batch_id: str, queue: str, reason: BatchReason, jobs: Sequence[Job[P]]) -> None:
        self.id = batch_id
        self.queue = queue
        self.reason = reason
        self._jobs = jobs

    @property
    def payloads(self) -> list[P]:
        """The payloads, in order."""
        return [job.payload for job in self._jobs]

    @overload
    def __getitem__(self, index: int) -> Job[P]: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Job[P]]: ...
    def __getitem__(self, index: int | slice) -> Job[P] | Sequence[Job[P]]:
        return self._jobs[index]

    def __len__(self) -> int:
        return len(self._jobs)

    def __iter__(self) -> Iterator[Job[P]]:
        return iter(self._jobs)

    def __repr__(self) -> str:
        return f"<Batch {self.id} queue={self.queue} jobs={len(self)} reason={self.reason}>"
