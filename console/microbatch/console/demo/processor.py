"""The demo's processor: this is all that a user of microbatch writes on the worker's side.

Rule: a batch is one transaction, and a job that runs twice leaves what it leaves when it runs once. It never
answers for a job whose row is not on disk.
"""

from __future__ import annotations

import functools
import os
from inspect import cleandoc
from pathlib import Path

from microbatch.console.demo.corpus import count_tokens
from microbatch.console.demo.index import Entry, Index
from microbatch.worker import Batch, batch_processor

__all__ = ["INDEX_VARIABLE", "MAX_BATCH_SIZE", "QUEUE", "index"]

QUEUE = "docstrings"
MAX_BATCH_SIZE = 64
INDEX_VARIABLE = "DEMO_INDEX"
"""The environment variable with the path of the index."""


@batch_processor(queue=QUEUE, max_batch_size=MAX_BATCH_SIZE, max_wait_ms=5)
def index(batch: Batch[dict[str, str]]) -> dict[str, dict[str, int]]:
    """Clean a batch of docstrings and add them to the full-text index in one transaction."""
    entries = []
    for job in batch:
        body = cleandoc(job.payload["text"])
        entries.append(Entry(job.id, job.payload["name"], body, count_tokens(body)))
    rows = _opened().add(batch.id, batch.reason, entries)
    return {entry.job_id: {"row": rows[entry.job_id], "tokens": entry.tokens} for entry in entries}


@functools.cache
def _opened() -> Index:
    """The index, opened by the first batch: SQLite wants it used by the thread that opened it."""
    return Index(Path(os.environ[INDEX_VARIABLE]))
