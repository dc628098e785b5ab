"""The worker side: write a processor, run a worker."""

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
from microbatch.common.jobs.update import ErrorFacts
from microbatch.common.log_context import LogContext
from microbatch.common.on_demand import on_demand
from microbatch.common.schedules.schedule import Schedule
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

if not TYPE_CHECKING:
    __getattr__ = on_demand(  # child processes import their processors without Redis
        __name__, {"microbatch.worker.worker": ("Worker",), "microbatch.common.settings": ("WorkerSettings",)}
    )
