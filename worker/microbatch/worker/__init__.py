"""The worker side: write a processor, run a worker."""

from importlib import import_module
from typing import TYPE_CHECKING

from microbatch.common.errors import (
    AddressUnavailable,
    AuthenticationFailed,
    BatchTimeout,
    ConnectionFailed,
    DrainTimeout,
    MicrobatchError,
    ProcessorError,
    ResultMismatch,
    SettingsError,
)
from microbatch.common.job_update import ErrorFacts
from microbatch.common.log_context import LogContext
from microbatch.common.schedule import Schedule
from microbatch.worker.batch import Batch, BatchReason, BatchResults, Job, Retry
from microbatch.worker.declaration import batch_processor
from microbatch.worker.hooks import BatchReport
from microbatch.worker.processor import BatchProcessor

if TYPE_CHECKING:
    from microbatch.common.settings import WorkerSettings
    from microbatch.worker.worker import Worker

__all__ = [
    "AddressUnavailable",
    "AuthenticationFailed",
    "Batch",
    "BatchProcessor",
    "BatchReason",
    "BatchReport",
    "BatchResults",
    "BatchTimeout",
    "ConnectionFailed",
    "DrainTimeout",
    "ErrorFacts",
    "Job",
    "LogContext",
    "MicrobatchError",
    "ProcessorError",
    "ResultMismatch",
    "Retry",
    "Schedule",
    "SettingsError",
    "Worker",
    "WorkerSettings",
    "batch_processor",
]

_ON_DEMAND = {"Worker": "microbatch.worker.worker", "WorkerSettings": "microbatch.common.settings"}
"""What brings Redis and the settings along: child processes import their processors without them."""

if not TYPE_CHECKING:  # type checkers would take every name for one of ours

    def __getattr__(name: str) -> object:
        if name not in _ON_DEMAND:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_ON_DEMAND[name]), name)
