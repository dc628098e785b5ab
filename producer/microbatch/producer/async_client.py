"""The asynchronous client: what producers use inside an event loop.

Rule: it only wires; every public method is a few lines over the part that does the work. It never holds
on to a job that the caller dropped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack

from microbatch.common import scripts
from microbatch.common.clock import Deadline, SystemClock
from microbatch.common.errors import NotReplicated, ProtocolError, QueueFull, ResultNotFound
from microbatch.common.identifiers import check_queue, split_job_id
from microbatch.common.keys import QueueKeys
from microbatch.common.register import known_queues
from microbatch.common.worker_facts import HEARTBEAT_LIMIT_S
from microbatch.producer.bulk import BulkSubmit
from microbatch.producer.client_life import ClientLife
from microbatch.producer.handle import AsyncJobHandle, ticket_of
from microbatch.producer.mapping import in_order
from microbatch.producer.recent import recent_batches
from microbatch.producer.tracing import admitted, sending
from microbatch.producer.waiting import Harvest
from microbatch.producer.watching import feed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from microbatch.common.jobs.update import BatchSummary, JobUpdate
    from microbatch.common.scripts import QueueStatus
    from microbatch.producer.options import SubmitOptions

__all__ = ["AsyncClient"]


class AsyncClient(ClientLife):
    """Submits jobs and awaits their results, from one event loop.

    Use it as `async with AsyncClient(...) as client`, or call `open()` and `close()`.

    Args:
        url: Where Redis is (`redis://`, `rediss://`, `unix://`, `embedded://`); None: `settings.redis_url`.
        settings: All else; None: from the environment (`MICROBATCH_...`) and the defaults.

    Raises:
        SettingsError: A URL or a setting that cannot be used.
    """

    async def submit(
        self, queue: str, payload: Any, *, job_id: str | None = None, **options: Unpack[SubmitOptions]
    ) -> AsyncJobHandle:
        """Submit one job. Once this returns, the job is in the queue and will not be lost.

        Args:
            queue: The queue's name.
            payload: Any msgpack value: None, bool, int, float, str, bytes, list, dict with str keys, aware
                datetime; a pydantic model or a dataclass travels as the dict of its fields.
            job_id: The second half of the job's id; None: a fresh one. The same id with the same payload is
                the same job, so that a submit can be repeated safely.
            **options: `on_full`, `timeout_s`, `kind`, `headers`, `priority`, `batch_key`, `cost`,
                `result_ttl_s`, `max_attempts`, `expires_in_s`, `delay_s`, `run_at`, `unique_key`,
                `unique_for_s`, `durability`: as `SubmitOptions` describes them.

        Returns:
            The job's handle; with `unique_key` that of the job that has the key, whoever submitted it.

        Raises:
            QueueFull: The queue holds `max_queue_length` jobs.
            SubmitTimeout: No answer within `timeout_s`. The job may have been accepted by then; it does not
                appear later.
            NotReplicated: Accepted, but too few replicas have it: `durability="replicated"`.
            QueueDraining: An operator lets the queue run empty.
            DuplicateJobId: `job_id` is taken by a job with another payload.
            TooManyBatchKeys, JobTooCostly: More lanes, or more `cost`, than the settings allow.
            PayloadError: The payload (or headers) cannot travel; `PayloadTooLarge` where it is too large.
            ConnectionFailed: Redis did not answer within `command_timeout_s`.
            ServerFull: Redis is out of memory.
            ProtocolError: The job's key holds something else.
            ClientClosed: The client is not open.
            ValueError: Not a valid queue name, job id or option.
            TypeError: An option that does not exist.
        """
        admission = self._opened().admission
        return AsyncJobHandle(await admitted(self._tracing, admission, queue, payload, job_id, options))

    async def call(
        self, queue: str, payload: Any, *, job_id: str | None = None, **options: Unpack[SubmitOptions]
    ) -> Any:
        """Submit one job and wait for its result.

        Args:
            queue: As in `submit`.
            payload: As in `submit`.
            job_id: As in `submit`.
            **options: As in `submit`; `timeout_s` is for both together. `result_ttl_s=0` suits calls, whose
                result is wanted once.

        Raises:
            MicrobatchError: As from `submit` and from `AsyncJobHandle.result`.
        """
        deadline = Deadline.after(options.get("timeout_s"), SystemClock())
        ticket = await admitted(self._tracing, self._opened().admission, queue, payload, job_id, options)
        return await AsyncJobHandle(ticket).result(deadline.left_s())

    async def submit_many(
        self, queue: str, payloads: Iterable[Any], **options: Unpack[SubmitOptions]
    ) -> list[AsyncJobHandle]:
        """Submit many jobs in few round trips.

        Args:
            queue: As in `submit`.
            payloads: Any iterable. It is consumed in chunks as they are sent, on the event loop.
            **options: As in `submit`, for every job; `timeout_s` is for the whole call.

        Returns:
            One handle per payload, in order.

        Raises:
            QueueFull: Not all found room; `accepted` has the handles of those that did, in order.
            NotReplicated: The same, where too few replicas have some of them.
            PayloadError: A payload cannot travel. Its chunk (at most 256 jobs) and all after it were not
                sent; a note on the error says how many jobs were accepted before.
            MicrobatchError: As from `submit`, with such a note; jobs in the air may have been accepted too.
        """
        admission = self._opened().admission
        try:
            with sending(self._tracing, queue, options) as traced:
                bulk = BulkSubmit(admission, queue, payloads, admission.terms(traced))
                return [AsyncJobHandle(ticket) for ticket in await bulk.run()]
        except (QueueFull, NotReplicated) as full:
            full.accepted = tuple(AsyncJobHandle(ticket) for ticket in bulk.accepted())
            raise

    async def as_completed(
        self, jobs: Iterable[AsyncJobHandle], *, timeout_s: float | None = None
    ) -> AsyncIterator[AsyncJobHandle]:
        """Give the jobs as they finish, failed ones too: `await job.result()` then returns or raises at once.

        Args:
            jobs: Which; each is given once.
            timeout_s: How long to wait for all of them together, in seconds; None: without end.

        Raises:
            ResultTimeout: The time is over and some have not finished.
            ConnectionFailed: The record of another client's job could not be read in time.
            ClientClosed: The client was closed.
        """
        handles = {ticket_of(job): job for job in jobs}
        async with Harvest(handles, timeout_s) as harvest:
            while batch := await harvest.next_batch():
                for ticket, error in batch:
                    if error is not None and not isinstance(error, ResultNotFound | ProtocolError):
                        raise error  # it may still finish: to give it now would be untrue
                    yield handles[ticket]

    async def map(
        self,
        queue: str,
        payloads: Iterable[Any],
        *,
        timeout_s: float | None = None,
        return_exceptions: bool = False,
    ) -> list[Any]:
        """Submit one job per payload, waiting for room where the queue is full, and wait for all results.

        Args:
            queue: As in `submit`.
            payloads: As in `submit_many`.
            timeout_s: How long all of it may take, in seconds; None: no limit.
            return_exceptions: Give a failed job's error in place of its result, instead of raising it.

        Returns:
            The results, in the order of the payloads.

        Raises:
            JobError: The first failure in the order of the payloads, as soon as all jobs before it have
                succeeded. The others go on.
            ResultTimeout: Some jobs have no result within `timeout_s`.
            MicrobatchError: As from `submit_many`.
        """
        deadline = Deadline.after(timeout_s, SystemClock())
        admission = self._opened().admission
        with sending(self._tracing, queue, {"on_full": "wait", "timeout_s": timeout_s}) as traced:
            tickets = await BulkSubmit(admission, queue, payloads, admission.terms(traced)).run()
        return await in_order(tickets, timeout_s, deadline, return_exceptions=return_exceptions)

    def job(self, full_id: str) -> AsyncJobHandle:
        """A job by its id alone, whoever submitted it. No round trip: an unknown id shows when it is asked.

        Args:
            full_id: `queue/local`, as `AsyncJobHandle.id` gives it.

        Raises:
            ValueError: It is not such an id.
            ClientClosed: The client is not open.
        """
        inbox = self._opened().inbox
        queue, local = split_job_id(full_id)
        return AsyncJobHandle(inbox.mailbox(queue).foreign(local))

    async def queues(self) -> list[str]:
        """The names of all queues that were ever used, sorted; errors as from `open`."""
        return await known_queues(self._opened().connection)

    async def queue_status(self, queue: str, *, heartbeat_limit_s: float = HEARTBEAT_LIMIT_S) -> QueueStatus:
        """How a queue is doing: jobs waiting and running, workers, age of the oldest job.

        Args:
            queue: The queue's name.
            heartbeat_limit_s: A worker silent for longer does not count.

        Raises:
            ConnectionFailed: Redis did not answer in time.
            ValueError: Not a valid queue name.
        """
        keys, limit_ms = QueueKeys(check_queue(queue)), round(heartbeat_limit_s * 1000)
        call = scripts.queue_status(keys, heartbeat_limit_ms=limit_ms)
        return await self._opened().connection.run(call)

    async def events(self, queue: str) -> AsyncIterator[JobUpdate]:
        """Everything that happens to a queue's jobs from now on: `async for ... in client.events(queue)`.

        Listening begins with the first step of the loop, and costs the queue's scripts a little meanwhile.
        Events are hints: those of a moment without connection are missing.

        Raises:
            ConnectionFailed: Redis did not answer in time.
            ClientClosed: The client was closed.
            ValueError: Not a valid queue name.
        """
        async for update in feed(self._opened().inbox.newsroom, QueueKeys(check_queue(queue))):
            yield update

    async def recent_batches(self, queue: str, *, limit: int = 100) -> list[BatchSummary]:
        """The batches that a queue's workers settled last, the newest first; about a thousand are kept.

        Args:
            queue: The queue's name.
            limit: The most of them to read.

        Raises:
            ConnectionFailed: Redis did not answer in time.
            ValueError: Not a valid queue name.
        """
        return await recent_batches(self._opened().connection, QueueKeys(check_queue(queue)), limit)
