"""The story of a job, told from its record: every change of its state that is known, in order.

Rule: a plain job's story is derived from what its record holds anyway, so it costs no write; only what a
record would forget (retries, moves, promotions) is kept in its field `history`. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from microbatch.common.jobs.happenings import moment
from microbatch.common.jobs.states import JobState
from microbatch.common.jobs.update import BatchRecord, JobUpdate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from microbatch.common.jobs.happenings import BatchWords, Happening
    from microbatch.common.jobs.update import ErrorFacts

__all__ = ["MOST_EVENTS", "Story"]

MOST_EVENTS = 24
"""How many events a history keeps (`include/history.lua`)."""
_WAITS = frozenset({JobState.QUEUED, JobState.SCHEDULED})


@dataclass(frozen=True, slots=True)
class Story:
    """What a record says about a job's way.

    Attributes:
        id: The full id.
        state: Its state now, `running` included.
        attempt: Its attempt now.
        enqueued_ms: When it was accepted.
        finished_ms: When it ended; None while it has not.
        events: Its history.
        batch: The batch in which it runs, or ran last; None before the first.
        was_scheduled: Whether its record still names a time for which it waits, or waited to the end.
        error: Why it failed.
    """

    id: str
    state: JobState
    attempt: int
    enqueued_ms: int | None
    finished_ms: int | None
    events: Sequence[Happening]
    batch: BatchWords | None
    was_scheduled: bool
    error: ErrorFacts | None

    def steps(self) -> tuple[JobUpdate, ...]:
        """All changes of its state that are known, the first one first."""
        steps = [self._first()] if self.enqueued_ms is not None and not self._is_redriven() else []
        attempt = 0
        seen = set()
        for event in self.events:
            attempt = event.attempt or attempt
            if event.batch is not None:
                seen.add(event.batch.batch_id)
                if event.batch.started_ms:
                    steps.append(self._claim(event.batch, attempt))
            steps.append(replace(event.update(self.id), attempt=attempt))
        is_new = self.batch is not None and self.batch.batch_id not in seen
        if self.batch is not None and is_new and self.batch.started_ms:
            steps.append(self._claim(self.batch, self.attempt))
        if self.state.is_final:
            steps.append(self._last(self.batch if is_new else None))
        return tuple(steps)

    def record(self, steps: Sequence[JobUpdate]) -> BatchRecord | None:
        """Why it is, or was last, batched as it was; `steps` are its own."""
        batch = self.batch
        if batch is None:
            return None
        started = moment(batch.started_ms) if batch.started_ms else None
        waits = [
            step.at
            for step in steps
            if step.at is not None and step.state in _WAITS and (started is None or step.at <= started)
        ]
        queued_ms = round((started - waits[-1]).total_seconds() * 1000) if started and waits else None
        ended_ms = next(
            (
                event.at_ms
                for event in self.events
                if event.batch is not None and event.batch.batch_id == batch.batch_id
            ),
            self.finished_ms,
        )
        return BatchRecord(
            batch.batch_id,
            batch.size,
            batch.reason,
            queued_ms,
            batch.waited_ms,
            max(0, ended_ms - batch.started_ms) if started and ended_ms is not None else None,
            batch.worker,
        )

    def _is_redriven(self) -> bool:
        return bool(self.events) and self.events[0].event == "redriven"

    def _first(self) -> JobUpdate:
        turns = [event.event for event in self.events if event.event in {"promoted", "retried"}]
        waited = turns[0] == "promoted" if turns else self.was_scheduled
        waited = waited and len(self.events) < MOST_EVENTS  # else its first events have made room
        event = "scheduled" if waited else "submitted"
        state = JobState.SCHEDULED if waited else JobState.QUEUED
        return JobUpdate(self.id, event, state, moment(self.enqueued_ms or 0))

    def _claim(self, batch: BatchWords, attempt: int) -> JobUpdate:
        at = moment(batch.started_ms)
        return JobUpdate(
            self.id,
            "claimed",
            JobState.RUNNING,
            at,
            attempt,
            batch.worker,
            batch.batch_id,
            batch.size,
            batch.reason,
        )

    def _last(self, batch: BatchWords | None) -> JobUpdate:
        lost = self.error is not None and self.error.type == "JobLost"
        return JobUpdate(
            self.id,
            "lost" if lost else str(self.state),
            self.state,
            moment(self.finished_ms) if self.finished_ms is not None else None,
            self.attempt,
            batch.worker if batch else None,
            batch.batch_id if batch else None,
            batch.size if batch else None,
            batch.reason if batch else None,
            self.error,
        )
