"""The batches that a queue settled last: how it is batched, seen from outside.

Rule: one round trip; what something else wrote into the stream is passed over.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from microbatch.common.errors import ProtocolError
from microbatch.common.jobs.happenings import moment, parse_batch
from microbatch.common.jobs.update import BatchSummary

if TYPE_CHECKING:
    from microbatch.common.connection import Connection
    from microbatch.common.keys import QueueKeys

__all__ = ["recent_batches"]


async def recent_batches(connection: Connection, keys: QueueKeys, limit: int) -> list[BatchSummary]:
    """The last batches, the newest first; errors as from `Connection.execute`."""
    rows = await connection.execute("XREVRANGE", keys.recent, "+", "-", "COUNT", limit)
    found = []
    for entry_id, fields in rows:
        with contextlib.suppress(ProtocolError):
            found.append(_summary(entry_id, dict(zip(fields[::2], fields[1::2], strict=False))))
    return found


def _summary(entry_id: bytes, fields: dict[bytes, bytes]) -> BatchSummary:
    batch = parse_batch(fields.get(b"batch", b"").decode("utf-8", "replace"))
    ended_ms = int(entry_id.partition(b"-")[0])
    return BatchSummary(
        batch.batch_id,
        batch.size,
        batch.reason,
        batch.worker,
        moment(batch.started_ms),
        moment(ended_ms),
        batch.waited_ms or 0,
        max(0, ended_ms - batch.started_ms),
    )
