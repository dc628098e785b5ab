"""Why a job was not accepted."""

from __future__ import annotations

from microbatch.common.errors.root import MicrobatchError

__all__ = [
    "DuplicateJobId",
    "JobTooCostly",
    "PayloadError",
    "PayloadTooLarge",
    "QueueDraining",
    "QueueFull",
    "SubmitError",
    "SubmitTimeout",
    "TooManyBatchKeys",
]


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
