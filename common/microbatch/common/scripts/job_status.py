"""The typed side of `job_status.lua`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from microbatch.common.errors import ProtocolError
from microbatch.common.scripts.await_results import JOB_LOST, KEPT_MS
from microbatch.common.scripts.script import Call, load
from microbatch.common.stored_numbers import number_of

if TYPE_CHECKING:
    from microbatch.common.keys import QueueKeys

__all__ = ["JobView", "job_status"]


@dataclass(frozen=True, slots=True)
class JobView:
    """A job's record, and who holds its entry. `worker` is empty where nobody does."""

    record: dict[bytes, bytes]
    worker: str
    batch: str
    batch_size: int
    claimed_ms: int
    attempt: int
    reason: str = ""


def job_status(keys: QueueKeys, local: str) -> Call[JobView | None]:
    """All that is known about one job; None where there is no record."""
    return Call(load("job_status"), keys.prefix, (local, JOB_LOST, KEPT_MS), _parse)


def _parse(reply: Any) -> JobView | None:
    if not reply:
        return None
    if reply[0] == b"foreign":
        raise ProtocolError("the job's key holds something else than a job record")
    record, worker, batch, batch_size, claimed_ms, attempt, reason = reply
    return JobView(
        dict(zip(record[::2], record[1::2], strict=True)),
        worker.decode("utf-8", "backslashreplace"),
        batch.decode("utf-8", "backslashreplace"),
        number_of(batch_size) or 0,
        number_of(claimed_ms) or 0,
        number_of(attempt) or 0,
        reason.decode("utf-8", "backslashreplace"),
    )
