"""The errors that users of microbatch see: one tree, drawn here.

Every error carries its facts as attributes. redis-py's own errors reach users only as `__cause__`.

    MicrobatchError
    |-- JobError                  a job that was accepted has no result to give
    |   |-- JobFailed             its processor (or the protocol) failed it
    |   |-- JobCancelled
    |   |-- JobExpired
    |   `-- ResultNotFound        unknown job, or its record is past its TTL
    |-- ResultTimeout             also a TimeoutError; the job itself goes on
    |-- SubmitError               the job was not accepted
    |   |-- QueueFull
    |   |-- QueueDraining         an operator lets the queue run empty
    |   |-- DuplicateJobId
    |   |-- TooManyBatchKeys
    |   |-- JobTooCostly          also a ValueError
    |   |-- SubmitTimeout         also a TimeoutError; whether it was accepted is unknown
    |   `-- PayloadError          also a ValueError
    |       `-- PayloadTooLarge
    |-- NotReplicated             the job was accepted, but too few replicas have it yet
    |-- ConnectionFailed          also a ConnectionError; Redis did not answer in time
    |   `-- AuthenticationFailed  a wrong password, or a user without the rights
    |-- ServerError               Redis answered with an error that retrying cannot mend
    |   `-- ServerFull            also a SubmitError; Redis is out of memory
    |-- ProtocolError             bytes in Redis that no version of microbatch wrote
    |   `-- SealError             a value that is not signed or encrypted as this process asks for
    |-- EmbeddedServerError       the embedded server cannot start
    |-- SettingsError             also a ValueError
    |-- ProcessorError            a processor that cannot be used: wrong signature, failed setup
    |-- ResultMismatch            a processor answered with something else than one result per job
    |-- BatchTimeout              also a TimeoutError; a processor took longer than `batch_timeout_s`
    |-- DrainTimeout              also a TimeoutError; a worker left in haste, the rest was handed back
    `-- ClientClosed
"""

from __future__ import annotations

__all__ = [
    "AuthenticationFailed",
    "BatchTimeout",
    "ClientClosed",
    "ConnectionFailed",
    "DrainTimeout",
    "DuplicateJobId",
    "EmbeddedServerError",
    "JobCancelled",
    "JobError",
    "JobExpired",
    "JobFailed",
    "JobTooCostly",
    "MicrobatchError",
    "NotReplicated",
    "PayloadError",
    "PayloadTooLarge",
    "ProcessorError",
    "ProtocolError",
    "QueueDraining",
    "QueueFull",
    "ResultMismatch",
    "ResultNotFound",
    "ResultTimeout",
    "SealError",
    "ServerError",
    "ServerFull",
    "SettingsError",
    "SubmitError",
    "SubmitTimeout",
    "TooManyBatchKeys",
]


class MicrobatchError(Exception):
    """The root: catch it to catch everything that microbatch raises."""


class JobError(MicrobatchError):
    """An accepted job (`job_id`, the full id) has no result to give."""

    def __init__(self, job_id: str, sentence: str) -> None:
        super().__init__(f"job {job_id} {sentence}")
        self.job_id = job_id


class JobFailed(JobError):
    """The job ended in state `failed`.

    The processor's exception travels as data and is never built again here: a worker's class may not
    exist in this process, and building classes named by a message is how queues get exploited.

    Attributes:
        job_id: The full id, `queue/local`.
        error_type: The exception's class name, such as `ValueError` or `WorkerLost`.
        error_message: `str()` of the exception.
        error_traceback: The worker's formatted traceback; empty where there was none.
    """

    def __init__(
        self, job_id: str, *, error_type: str, error_message: str, error_traceback: str = ""
    ) -> None:
        super().__init__(job_id, f"failed: {error_type}: {error_message}")
        self.error_type = error_type
        self.error_message = error_message
        self.error_traceback = error_traceback


class JobCancelled(JobError):
    """The job was cancelled before it had a result."""

    def __init__(self, job_id: str) -> None:
        super().__init__(job_id, "was cancelled")


class JobExpired(JobError):
    """The job was not started by its deadline and was never processed."""

    def __init__(self, job_id: str) -> None:
        super().__init__(job_id, "was not started by its deadline")


class ResultNotFound(JobError):
    """No record of this job: it never existed, kept no result, or its result is past its TTL."""

    def __init__(self, job_id: str) -> None:
        super().__init__(job_id, "is unknown, or its result is past its time to live")


class ResultTimeout(MicrobatchError, TimeoutError):
    """The result was not there within `timeout_s`. The job goes on; ask again by its id.

    `job_id` is the full id, or None where several jobs were awaited together.
    """

    def __init__(self, job_id: str | None, timeout_s: float, *, missing: int = 1) -> None:
        what = f"job {job_id} has" if job_id else "1 job has" if missing == 1 else f"{missing} jobs have"
        super().__init__(f"{what} no result after {timeout_s:.3g} s")
        self.job_id = job_id
        self.timeout_s = timeout_s


class SubmitError(MicrobatchError):
    """The job was not accepted (with `SubmitTimeout`: it is not known whether it was)."""


class QueueFull(SubmitError):
    """The queue (`queue`) holds `max_queue_length` jobs; room is likely in `retry_after_s`.

    `accepted`: from `submit_many`, the handles of the jobs that were accepted, in order; else empty.
    """

    def __init__(self, queue: str, *, retry_after_s: float, accepted: tuple[object, ...] = ()) -> None:
        super().__init__(f"queue {queue!r} is full; try again in {retry_after_s:.3g} s")
        self.queue = queue
        self.retry_after_s = retry_after_s
        self.accepted = accepted


class QueueDraining(SubmitError):
    """An operator lets the queue (`queue`) run empty: it accepts nothing until it is resumed."""

    def __init__(self, queue: str) -> None:
        super().__init__(f"queue {queue!r} drains: no new jobs until `microbatch queue resume {queue}`")
        self.queue = queue


class DuplicateJobId(SubmitError):
    """This job id (`job_id`, the full one) is taken by a job with another payload."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"job id {job_id} is taken by a job with another payload")
        self.job_id = job_id


class TooManyBatchKeys(SubmitError):
    """The job would open a lane (a pair of batch key and priority); `queue` has `max_batch_keys` of them."""

    def __init__(self, queue: str) -> None:
        super().__init__(f"queue {queue!r} has jobs in as many lanes as max_batch_keys allows")
        self.queue = queue


class JobTooCostly(SubmitError, ValueError):
    """The job's `cost` is above `limit`, which is `max_job_cost`."""

    def __init__(self, cost: int, limit: int) -> None:
        super().__init__(f"the job's cost is {cost:,}, and max_job_cost is {limit:,}")
        self.cost = cost
        self.limit = limit


class SubmitTimeout(SubmitError, TimeoutError):
    """No answer to a submit to `queue` within `timeout_s`: the job may or may not be there.

    Submitting the same `job_id` again is safe: it adds nothing where the first attempt got through.
    """

    def __init__(self, queue: str, timeout_s: float) -> None:
        super().__init__(f"no answer to a submit to queue {queue!r} within {timeout_s:g} s")
        self.queue = queue
        self.timeout_s = timeout_s


class PayloadError(SubmitError, ValueError):
    """A value that cannot travel: its sentence names the type and the place of the offender."""


class PayloadTooLarge(PayloadError):
    """An encoded payload of `size_bytes` above `max_payload_bytes`, or a result above `max_result_bytes`."""

    def __init__(self, size_bytes: int, limit_bytes: int) -> None:
        super().__init__(f"the encoded value has {size_bytes:,} bytes, the limit is {limit_bytes:,}")
        self.size_bytes = size_bytes
        self.limit_bytes = limit_bytes


class NotReplicated(MicrobatchError):
    """Too few replicas confirmed a job in time. It **was accepted**, and runs unless the primary is lost now.

    Submitting the same `job_id` with the same payload again adds nothing and waits for the replicas again.

    Attributes:
        job_id: The full id; None from `submit_many`.
        wanted: How many replicas should have it.
        reached: How many had confirmed it.
        accepted: From `submit_many`: the handles of all that were accepted, in order; the rest was not sent.
    """

    def __init__(
        self, job_id: str | None, *, wanted: int, reached: int, accepted: tuple[object, ...] = ()
    ) -> None:
        what = f"job {job_id} was accepted, but" if job_id else "jobs were accepted, but"
        replicas = "1 replica" if wanted == 1 else f"{wanted} replicas"
        super().__init__(
            f"{what} {reached} of {replicas} confirmed it in time; a submit with the same id waits again"
        )
        self.job_id = job_id
        self.wanted = wanted
        self.reached = reached
        self.accepted = accepted


class ConnectionFailed(MicrobatchError, ConnectionError):
    """Redis could not be reached, or did not answer in time, retries included."""


class AuthenticationFailed(ConnectionFailed):
    """Redis refused the password, or the user lacks a right. Retrying does not help."""


class ServerError(MicrobatchError):
    """Redis answered with an error that retrying cannot mend."""


class ServerFull(ServerError, SubmitError):
    """Redis is at its `maxmemory`: new jobs are refused; jobs that it holds are still processed."""


class ProtocolError(MicrobatchError):
    """Bytes in Redis that no version of microbatch wrote."""


class SealError(ProtocolError):
    """A value that is not signed or encrypted by a known key for its very job, although it must be."""


class EmbeddedServerError(MicrobatchError):
    """The embedded server cannot be found, started or attached to."""


class SettingsError(MicrobatchError, ValueError):
    """A setting has a value that cannot be used; the sentence names it and what it may be."""


class ProcessorError(MicrobatchError):
    """A processor that cannot be used: a wrong declaration, or a `setup` that raised."""


class ResultMismatch(MicrobatchError):
    """A processor answered with something else than exactly one result per job."""


class BatchTimeout(MicrobatchError, TimeoutError):
    """A processor took longer than `batch_timeout_s` for a job that ran alone."""


class DrainTimeout(MicrobatchError, TimeoutError):
    """A worker left (`why`) while batches were running; `handed_back` jobs went back to their queue."""

    def __init__(self, handed_back: int, why: str = "the drain deadline passed") -> None:
        jobs = "1 job was" if handed_back == 1 else f"{handed_back} jobs were"
        super().__init__(f"{why}: {jobs} handed back")
        self.handed_back = handed_back
        self.why = why


class ClientClosed(MicrobatchError):
    """The client was closed (or not yet entered)."""

    def __init__(self) -> None:
        super().__init__("this client is closed; open one: `async with AsyncClient(...)` or `Client(...)`")
