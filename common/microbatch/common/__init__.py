"""What producers and workers agree on: errors, settings, states. Everything else here is internal."""

from typing import TYPE_CHECKING

from microbatch.common.errors import (
    AddressUnavailable,
    AuthenticationFailed,
    BatchTimeout,
    ClientClosed,
    ConnectionFailed,
    DrainTimeout,
    DuplicateJobId,
    EmbeddedServerError,
    JobCancelled,
    JobError,
    JobExpired,
    JobFailed,
    MicrobatchError,
    PayloadError,
    PayloadTooLarge,
    ProcessorError,
    ProtocolError,
    QueueFull,
    ResultMismatch,
    ResultNotFound,
    ResultTimeout,
    ServerError,
    ServerFull,
    SettingsError,
    SubmitError,
    SubmitTimeout,
)
from microbatch.common.jobs.states import JobState
from microbatch.common.on_demand import on_demand

if TYPE_CHECKING:
    from microbatch.common.jobs.status import JobStatus
    from microbatch.common.jobs.update import (
        BatchRecord,
        BatchSummary,
        ErrorFacts,
        JobUpdate,
        LogLine,
        Progress,
    )
    from microbatch.common.settings import (
        ClientSettings,
        QueueOverrides,
        QueueSettings,
        RedisSettings,
        UnknownSettingWarning,
        WorkerSettings,
    )

__all__ = [
    "AddressUnavailable",
    "AuthenticationFailed",
    "BatchRecord",
    "BatchSummary",
    "BatchTimeout",
    "ClientClosed",
    "ClientSettings",
    "ConnectionFailed",
    "DrainTimeout",
    "DuplicateJobId",
    "EmbeddedServerError",
    "ErrorFacts",
    "JobCancelled",
    "JobError",
    "JobExpired",
    "JobFailed",
    "JobState",
    "JobStatus",
    "JobUpdate",
    "LogLine",
    "MicrobatchError",
    "PayloadError",
    "PayloadTooLarge",
    "ProcessorError",
    "Progress",
    "ProtocolError",
    "QueueFull",
    "QueueOverrides",
    "QueueSettings",
    "RedisSettings",
    "ResultMismatch",
    "ResultNotFound",
    "ResultTimeout",
    "ServerError",
    "ServerFull",
    "SettingsError",
    "SubmitError",
    "SubmitTimeout",
    "UnknownSettingWarning",
    "WorkerSettings",
]

if not TYPE_CHECKING:
    __getattr__ = on_demand(
        __name__,
        {
            "microbatch.common.jobs.status": ("JobStatus",),
            "microbatch.common.jobs.update": (
                "BatchRecord",
                "BatchSummary",
                "ErrorFacts",
                "JobUpdate",
                "LogLine",
                "Progress",
            ),
            "microbatch.common.settings": (
                "ClientSettings",
                "QueueOverrides",
                "QueueSettings",
                "RedisSettings",
                "UnknownSettingWarning",
                "WorkerSettings",
            ),
        },
    )
