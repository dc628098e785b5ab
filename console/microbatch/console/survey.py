"""The survey: queues, workers and errors of one moment, and what the last seconds say about them.

Rule: sums and rates are pure; one look costs each queue a status, a list of workers, its last batches and its
newest dead letters. Rates come from the batches that were settled within `WINDOW_S`, so one look is enough.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from collections.abc import Set as AbstractSet

    from microbatch.common.jobs.update import BatchSummary
    from microbatch.common.scripts import Fleet, QueueStatus, WorkerSight
    from microbatch.console.admin import Admin

__all__ = [
    "ErrorRow",
    "QueueRow",
    "Survey",
    "WorkerRow",
    "just_settled",
    "queue_row",
    "surveyed",
    "worker_rows",
]

WINDOW_S = 10.0
MOST_BATCHES = 1_000
P95 = 0.95
GONE = ("stuck", "lost")
"""What a worker does whose jobs were taken over."""
BETWEEN_BATCHES_S = 1.0
"""Who settled a batch so lately and holds none is between two of them."""


@dataclass(frozen=True, slots=True)
class QueueRow:
    """One queue. What nobody knows is None.

    Attributes:
        jobs_per_s: Jobs that were settled, per second.
        fill: Jobs per batch, as a share of `max_batch_size`.
        p95_ms: Of 20 jobs, 19 were settled within this time after their batch's oldest job could run.
    """

    queue: str
    waiting: int
    running: int
    scheduled: int
    workers: int
    dead: int
    oldest_age_s: float | None
    jobs_per_s: float
    batches_per_s: float
    fill: float | None
    p95_ms: int | None


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """One worker.

    Attributes:
        state: `working`, `watching`, `idle`, `silent` (it may be dead), `quiet`, `leaving`, `stuck` (only a
            restart helps), `lost` (its jobs were taken over lately), or `aside`: it takes no work just now.
        concurrency: How many batches it runs at a time, all queues together; None: it does not say.
        version: Of microbatch; empty: it does not say.
    """

    worker: str
    queues: list[str]
    state: str
    batches: int
    jobs: int
    silent_s: float
    concurrency: int | None = None
    version: str = ""
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ErrorRow:
    """A job that failed for good."""

    at: datetime | None
    queue: str
    job_id: str | None
    type: str
    message: str


@dataclass(frozen=True, slots=True)
class Survey:
    """What one look saw: queues by name, workers by id, errors with the newest first."""

    queues: list[QueueRow]
    workers: list[WorkerRow]
    errors: list[ErrorRow]


def queue_row(queue: str, status: QueueStatus, batches: Sequence[BatchSummary], now_ms: int) -> QueueRow:
    """Put a queue's row together; `batches` are its last ones, the newest first."""
    now = datetime.fromtimestamp(now_ms / 1000, UTC)
    window_s = WINDOW_S
    recent = [batch for batch in batches if batch.finished_at > now - timedelta(seconds=WINDOW_S)]
    if recent and len(recent) == len(batches) >= MOST_BATCHES:  # there were more than were read
        window_s = max(0.001, (now - recent[-1].finished_at).total_seconds())
    jobs = sum(batch.batch_size for batch in recent)
    room = len(recent) * (status.max_batch_size or 0)
    return QueueRow(
        queue=queue,
        waiting=status.waiting,
        running=status.running,
        scheduled=status.scheduled,
        workers=status.workers,
        dead=status.dead,
        oldest_age_s=status.oldest_age_s,
        jobs_per_s=jobs / window_s,
        batches_per_s=len(recent) / window_s,
        fill=jobs / room if room else None,
        p95_ms=_p95_ms(recent, jobs),
    )


def just_settled(batches: Iterable[BatchSummary], now_ms: int) -> set[str]:
    """The workers that were at work a moment ago, whether or not one look finds them with a batch."""
    since = datetime.fromtimestamp(now_ms / 1000, UTC) - timedelta(seconds=BETWEEN_BATCHES_S)
    return {batch.worker for batch in batches if batch.finished_at > since}


def worker_rows(
    fleets: Iterable[tuple[str, Fleet]], heartbeat_limit_s: float, *, busy: AbstractSet[str] = frozenset()
) -> list[WorkerRow]:
    """Put the workers of several queues together: one row for each, whatever it works for.

    Args:
        fleets: The workers of each queue.
        heartbeat_limit_s: After which silence a worker counts as `silent`.
        busy: Who is between two batches where it holds none, as `just_settled` says.
    """
    queues: dict[str, list[str]] = {}
    sights: dict[str, list[WorkerSight]] = {}
    for queue, fleet in fleets:
        for sight in fleet.workers:
            queues.setdefault(sight.worker, []).append(queue)
            sights.setdefault(sight.worker, []).append(sight)
    return [
        _worker_row(queues[worker], sights[worker], heartbeat_limit_s, is_busy=worker in busy)
        for worker in sorted(queues)
    ]


def _worker_row(
    queues: list[str], sights: list[WorkerSight], heartbeat_limit_s: float, *, is_busy: bool
) -> WorkerRow:
    newest = min(sights, key=lambda sight: sight.silent_s)
    slots = [sight.facts.concurrency for sight in sights]
    batches = sum(sight.batches for sight in sights)
    seen = {sight.doing for sight in sights}
    state = next((each for each in ("watching", "idle") if each in seen), "working" if is_busy else "aside")
    state = "working" if batches else state
    state = newest.facts.state or state
    if newest.silent_s > heartbeat_limit_s:
        state = "silent"
    if newest.doing in GONE:
        state = newest.doing
    return WorkerRow(
        worker=newest.worker,
        queues=queues,
        state=state,
        batches=batches,
        jobs=sum(sight.jobs for sight in sights),
        silent_s=newest.silent_s,
        concurrency=None if None in slots else sum(filter(None, slots)),
        version=newest.facts.version,
        labels=newest.facts.labels,
    )


async def surveyed(
    admin: Admin, queues: Sequence[str], *, heartbeat_limit_s: float, most_errors: int
) -> Survey:
    """Look at these queues; errors as from `Admin.queue_status`."""
    rows, fleets, errors = [], [], []
    busy: set[str] = set()
    for queue in queues:
        status = await admin.queue_status(queue, heartbeat_limit_s=heartbeat_limit_s)
        fleet = await admin.fleet(queue)
        batches = await admin.recent_batches(queue, limit=MOST_BATCHES)
        rows.append(queue_row(queue, status, batches, fleet.now_ms))
        fleets.append((queue, fleet))
        busy |= just_settled(batches, fleet.now_ms)
        if status.dead and most_errors:
            for letter in await admin.dead_letters(queue).newest(most_errors):
                error = letter.error
                errors.append(ErrorRow(letter.died_at, queue, letter.job_id, error.type, error.message))
    errors.sort(key=lambda row: row.at or datetime.min.replace(tzinfo=UTC), reverse=True)
    return Survey(rows, worker_rows(fleets, heartbeat_limit_s, busy=busy), errors[:most_errors])


def _p95_ms(batches: Sequence[BatchSummary], jobs: int) -> int | None:
    below = 0
    for took_ms, size in sorted((batch.waited_ms + batch.run_ms, batch.batch_size) for batch in batches):
        below += size
        if below >= P95 * jobs:
            return took_ms
    return None
