"""The worker side: write a processor, run a worker."""

from microbatch.common.errors import (
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
from microbatch.common.settings import WorkerSettings
from microbatch.worker.batch import Batch, BatchReason, BatchResults, Job, Retry
from microbatch.worker.declaration import batch_processor
from microbatch.worker.hooks import BatchReport
from microbatch.worker.processor import BatchProcessor
from microbatch.worker.worker import Worker

__all__ = [
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
