"""Write what processors said to Redis.

Rule: a note is worth one call and no more: where Redis does not take it in a moment, it is lost, and that is
logged. Nothing waits for it but the batch's own outcomes, and they not for long.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from microbatch.common.errors import MicrobatchError
from microbatch.common.scripts import note

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from microbatch.common.connection import Connection
    from microbatch.common.keys import QueueKeys
    from microbatch.common.scripts import JobNote
    from microbatch.common.settings import WorkerSettings

__all__ = ["Scribe"]

log = logging.getLogger("microbatch.worker")
PATIENCE_S = 1.0
CHUNK_JOBS = 256
CHUNK_BYTES = 1 << 20


class Scribe:
    """Writes notes of one queue.

    Args:
        connection: Where to.
        keys: The queue's keys.
        settings: The worker's.
    """

    def __init__(self, connection: Connection, keys: QueueKeys, settings: WorkerSettings) -> None:
        self._connection = connection
        self._keys = keys
        self._settings = settings

    async def write(self, notes: Sequence[JobNote]) -> None:
        """Write notes, or lose them."""
        timeout_s = min(PATIENCE_S, self._settings.command_timeout_s)
        for chunk in _chunks(notes):
            call = note(
                self._keys,
                chunk,
                most_lines=self._settings.job_log_limit_lines,
                most_bytes=self._settings.job_log_limit_bytes,
            )
            try:
                await self._connection.run(call, timeout_s=timeout_s)
            except MicrobatchError as error:
                log.warning("queue %s: notes about %d jobs are lost: %s", self._keys.queue, len(chunk), error)


def _chunks(notes: Sequence[JobNote]) -> Iterator[Sequence[JobNote]]:
    start, size = 0, 0
    for index, each in enumerate(notes):
        weight = sum(map(len, each.lines)) + len(each.progress)
        if index > start and (index - start >= CHUNK_JOBS or size + weight > CHUNK_BYTES):
            yield notes[start:index]
            start, size = index, 0
        size += weight
    if start < len(notes):
        yield notes[start:]
