"""What can be said of an accepted job in place of a result: it failed, ended otherwise, or has none yet."""

from __future__ import annotations

from microbatch.common.errors.root import MicrobatchError

__all__ = [
    "JobCancelled",
    "JobError",
    "JobExpired",
    "JobFailed",
    "NotReplicated",
    "ResultNotFound",
    "ResultTimeout",
]


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
