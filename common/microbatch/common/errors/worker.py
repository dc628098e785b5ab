"""What ends a batch, or a worker with work in hand."""

from __future__ import annotations

from microbatch.common.errors.root import MicrobatchError

__all__ = ["BatchTimeout", "DrainTimeout", "ResultMismatch"]


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
