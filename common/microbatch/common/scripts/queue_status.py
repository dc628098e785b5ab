"""The typed side of `queue_status.lua`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from microbatch.common.limits import BatchLimits
from microbatch.common.scripts.hold import OPEN, QueueGate, parse_held
from microbatch.common.scripts.script import Call, load

if TYPE_CHECKING:
    from microbatch.common.keys import QueueKeys

__all__ = ["QueueStatus", "queue_status"]


@dataclass(frozen=True, slots=True)
class QueueStatus:
    """How a queue is doing.

    Attributes:
        waiting: Jobs that no worker holds.
        running: Jobs that a worker holds.
        dead: Entries in the dead stream.
        oldest_age_s: Since when the oldest waiting job waits, in seconds; None where none waits.
        workers: Workers with a heartbeat within the limit.
        max_batch_size: As an operator limits it, else as the last started worker declared it; or None.
        max_wait_ms: Likewise.
        scheduled: Jobs that wait for their time: delayed ones, and retries.
        dead_trimmed: Dead letters that had to make room for newer ones, ever.
        foreign: Keys of the queue, by their last part, that hold something else; what they should hold
            counts as nothing here. A worker sets them aside within seconds.
        gate: Who lets nothing in or out, if somebody does.
    """

    waiting: int
    running: int
    dead: int
    oldest_age_s: float | None
    workers: int
    max_batch_size: int | None
    max_wait_ms: float | None
    scheduled: int = 0
    dead_trimmed: int = 0
    foreign: tuple[str, ...] = ()
    gate: QueueGate = OPEN


def queue_status(keys: QueueKeys, *, heartbeat_limit_ms: int) -> Call[QueueStatus]:
    """Look at a queue."""
    return Call(load("queue_status"), keys.prefix, (heartbeat_limit_ms,), _parse)


def _parse(reply: Any) -> QueueStatus:
    waiting, running, dead, oldest_ms, workers, size, wait, scheduled, dead_trimmed, foreign, *more = reply
    paused, draining, *limits = more
    limited, declared = BatchLimits.parse(*limits), BatchLimits.parse(size, wait)
    return QueueStatus(
        waiting,
        running,
        dead,
        None if oldest_ms < 0 else oldest_ms / 1000,
        workers,
        limited.max_batch_size or declared.max_batch_size,
        declared.max_wait_ms if limited.max_wait_ms is None else limited.max_wait_ms,
        scheduled,
        dead_trimmed,
        tuple(sorted(name.decode() for name in foreign)),
        QueueGate(parse_held(paused), parse_held(draining)),
    )
