"""The typed side of `fleet.lua`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from microbatch.common.scripts.script import Call, load
from microbatch.common.stored_numbers import number_of
from microbatch.common.worker_facts import WorkerFacts

if TYPE_CHECKING:
    from microbatch.common.keys import QueueKeys

__all__ = ["Fleet", "WorkerSight", "fleet"]

NO_FACTS = WorkerFacts()


@dataclass(frozen=True, slots=True)
class WorkerSight:
    """One worker, as its queue sees it.

    Attributes:
        worker: Its id.
        silent_s: Seconds since its last heartbeat.
        batches: Batches that it holds.
        jobs: Jobs in them.
        doing: `idle`, `watching` (it waits for a batch to fill), or empty: it works, or takes no work.
            `stuck`, `lost`: its jobs were taken over within the last ten minutes, and it still asks for
            orders, or not.
        facts: What it says about itself.
    """

    worker: str
    silent_s: float
    batches: int
    jobs: int
    doing: str
    facts: WorkerFacts = NO_FACTS


class Fleet(NamedTuple):
    """The workers of a queue, and Redis's time as they were looked at."""

    now_ms: int
    workers: list[WorkerSight]


def fleet(keys: QueueKeys, *, limit: int = 1_000) -> Call[Fleet]:
    """Look at the workers of a queue: those with the newest heartbeats."""
    return Call(load("fleet"), keys.prefix, (limit,), _parse)


def _parse(reply: Any) -> Fleet:
    return Fleet(int(reply[0]), [_sight(*row) for row in reply[1:]])


def _sight(
    worker: bytes, silent_ms: bytes, batches: int, jobs: int, doing: bytes, about: bytes
) -> WorkerSight:
    silent_s = (number_of(silent_ms) or 0) / 1000  # of a clock that is ahead: none
    facts = WorkerFacts.parse(about)
    return WorkerSight(worker.decode("utf-8", "replace"), silent_s, batches, jobs, doing.decode(), facts)
