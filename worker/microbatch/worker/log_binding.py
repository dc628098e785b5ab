"""Binds a batch to the log lines that are written while its processor runs, the user's own included."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from microbatch.common.log_context import bound
from microbatch.worker.observer import Observer

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from microbatch.worker.batch import Batch

__all__ = ["LogBinding"]


class LogBinding(Observer):
    """Tells the log who works on what.

    Args:
        worker_id: Who.
    """

    def __init__(self, worker_id: str) -> None:
        self._worker_id = worker_id

    def processing(self, batch: Batch[Any]) -> AbstractContextManager[object]:
        """Bind the batch, and its job where it has one alone."""
        facts = {"worker": self._worker_id, "queue": batch.queue, "batch_id": batch.id}
        return bound(**facts, job_id=batch[0].id) if len(batch) == 1 else bound(**facts)
