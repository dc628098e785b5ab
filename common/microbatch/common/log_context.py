"""What is being worked on where a log line is written: facts that belong to every line of a batch.

Rule: facts live in a context variable, so they reach coroutines and threads that run for the batch, and no
others. They are names and ids, never a payload. `LogContext` puts them on the records of any handler.
"""

from __future__ import annotations

import logging
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CONTEXT_FIELDS", "LogContext", "bound", "bound_facts"]

CONTEXT_FIELDS = {
    "worker": "the worker's id",
    "queue": "the queue's name",
    "batch_id": "the batch's id",
    "job_id": "the job's full id: of a batch of one, or within `job.bound()`",
}
"""What a line may say about where it was written."""

_NOTHING: Mapping[str, str] = {}
_bound: ContextVar[Mapping[str, str]] = ContextVar("microbatch_log_context", default=_NOTHING)


class bound:  # noqa: N801 - read as a verb: `with bound(queue="q")`
    """Let log lines that are written within say this, besides what is bound around them."""

    __slots__ = ("_facts", "_token")

    def __init__(self, **facts: str) -> None:
        self._facts = facts

    def __enter__(self) -> None:
        self._token = _bound.set({**_bound.get(), **self._facts})

    def __exit__(self, *_: object) -> None:
        _bound.reset(self._token)


def bound_facts() -> Mapping[str, str]:
    """What is bound here and now."""
    return _bound.get()


class LogContext(logging.Filter):
    """Puts `worker`, `queue`, `batch_id` and `job_id` on each record, for a formatter of your own.

    Add it to a handler; what is not known is an empty string, so a format may always name it:

        handler.addFilter(LogContext())
        handler.setFormatter(logging.Formatter("%(batch_id)s %(job_id)s %(message)s"))
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Never drops a record."""
        facts = _bound.get()
        for name in CONTEXT_FIELDS:
            if not hasattr(record, name):  # the program's own `extra` says more
                setattr(record, name, facts.get(name, ""))
        return True
