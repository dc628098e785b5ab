"""The client SDK: submit jobs, await their results, look at their state.

Everything public is here; other modules of this package may change without notice.
"""

from microbatch.common.errors import (
    AuthenticationFailed,
    ClientClosed,
    ConnectionFailed,
    DuplicateJobId,
    JobCancelled,
    JobError,
    JobExpired,
    JobFailed,
    JobTooCostly,
    MicrobatchError,
    NotReplicated,
    PayloadError,
    PayloadTooLarge,
    ProtocolError,
    QueueDraining,
    QueueFull,
    ResultNotFound,
    ResultTimeout,
    SealError,
    ServerError,
    ServerFull,
    SettingsError,
    SubmitError,
    SubmitTimeout,
    TooManyBatchKeys,
)
from microbatch.common.jobs.states import JobState
from microbatch.common.jobs.status import JobStatus
from microbatch.common.jobs.update import BatchRecord, BatchSummary, ErrorFacts, JobUpdate, LogLine, Progress
from microbatch.common.settings import ClientSettings
from microbatch.producer.async_client import AsyncClient
from microbatch.producer.client import Client
from microbatch.producer.handle import AsyncJobHandle
from microbatch.producer.job_handle import JobHandle
from microbatch.producer.options import SubmitOptions

__all__ = [
    "AsyncClient",
    "AsyncJobHandle",
    "AuthenticationFailed",
    "BatchRecord",
    "BatchSummary",
    "Client",
    "ClientClosed",
    "ClientSettings",
    "ConnectionFailed",
    "DuplicateJobId",
    "ErrorFacts",
    "JobCancelled",
    "JobError",
    "JobExpired",
    "JobFailed",
    "JobHandle",
    "JobState",
    "JobStatus",
    "JobTooCostly",
    "JobUpdate",
    "LogLine",
    "MicrobatchError",
    "NotReplicated",
    "PayloadError",
    "PayloadTooLarge",
    "Progress",
    "ProtocolError",
    "QueueDraining",
    "QueueFull",
    "ResultNotFound",
    "ResultTimeout",
    "SealError",
    "ServerError",
    "ServerFull",
    "SettingsError",
    "SubmitError",
    "SubmitOptions",
    "SubmitTimeout",
    "TooManyBatchKeys",
]
