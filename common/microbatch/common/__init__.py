"""What producers and workers agree on: errors, settings, states. Everything else here is internal."""

from importlib import import_module
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
from microbatch.common.states import JobState

if TYPE_CHECKING:
    from microbatch.common.job_update import (
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
    from microbatch.common.status import JobStatus

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

_ON_DEMAND = {
    "job_update": ("BatchRecord", "BatchSummary", "ErrorFacts", "JobUpdate", "LogLine", "Progress"),
    "settings": (
        "ClientSettings",
        "QueueOverrides",
        "QueueSettings",
        "RedisSettings",
        "UnknownSettingWarning",
        "WorkerSettings",
    ),
    "status": ("JobStatus",),
}
"""What takes long to import, by module: whoever needs an error or a key does not wait for pydantic."""

if not TYPE_CHECKING:  # type checkers would take every name for one of ours

    def __getattr__(name: str) -> object:
        for module, names in _ON_DEMAND.items():
            if name in names:
                return getattr(import_module(f"{__name__}.{module}"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
