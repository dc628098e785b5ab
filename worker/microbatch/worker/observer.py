"""What a worker's agents tell about their work, and to whom: to anybody, or to nobody.

Rule: agents only tell; they never ask an observer, and what it does with the news must not raise, wait or
cost much: it is told about batches, not about jobs. Nothing here knows metrics, traces or logs.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager
    from types import TracebackType

    from microbatch.common.jobs.entry import Entry
    from microbatch.common.scripts import Claimed, Outcome, SettleCode
    from microbatch.worker.batch import Batch

__all__ = ["NO_OBSERVER", "BatchEnd", "Observer", "Observers"]

BatchEnd = Literal["settled", "lost", "taken_over", "handed_back", "broke"]
"""How a batch left this worker: with outcomes; given up because it hangs or its process died; run by another
worker meanwhile; handed back when the worker left; or dropped by a bug of ours."""


class Observer:
    """Hears what happens, and does nothing about it. Subclasses overwrite what they want to hear.

    All but `reclaimed`, `handed_back`, `redis_failed` and `loop_stalled` are called on the event loop.
    """

    def claimed(self, queue: str, batch_id: str, claimed: Claimed, entries: Sequence[Entry]) -> None:
        """A batch begins; `entries` are those whose jobs the processor will see."""

    def processing(self, batch: Batch[Any]) -> AbstractContextManager[object]:
        """The context in which the processor is called, once per batch."""
        del batch
        return _NOTHING

    def settled(
        self, queue: str, batch_id: str, outcomes: Sequence[Outcome], codes: Sequence[SettleCode] | None
    ) -> None:
        """Outcomes were written; `codes` says which were not, None: all were."""

    def ended(self, queue: str, batch_id: str, end: BatchEnd) -> None:
        """A batch is no longer in flight here."""

    def quarantined(self, queue: str) -> None:
        """An entry that nothing can process became a dead letter."""

    def handed_back(self, queue: str, jobs: int) -> None:
        """Jobs went back to their queue without an outcome."""

    def resized(self, queue: str, slots: int) -> None:
        """From now on so many batches are held at a time."""

    def reclaimed(self, queue: str, jobs: int, failed: int) -> None:
        """Jobs of a dead worker went back to their queue; others had killed too many, and failed."""

    def redis_failed(self, queue: str, operation: str) -> None:
        """Redis did not answer in time, or refused; `operation` is a script's name."""

    def loop_stalled(self) -> None:
        """The event loop has been stuck for longer than `loop_stall_limit_s`."""


_NOTHING = nullcontext()
NO_OBSERVER = Observer()


class _Nested:
    """Several contexts as one; observers' contexts do not raise, and hold no exception back."""

    __slots__ = ("_contexts",)

    def __init__(self, contexts: list[AbstractContextManager[object]]) -> None:
        self._contexts = contexts

    def __enter__(self) -> None:
        for each in self._contexts:
            each.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for each in reversed(self._contexts):
            each.__exit__(kind, error, trace)


class Observers(Observer):
    """Tells several observers."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = tuple(observers)

    def claimed(self, queue: str, batch_id: str, claimed: Claimed, entries: Sequence[Entry]) -> None:
        """As `Observer`."""
        for each in self._observers:
            each.claimed(queue, batch_id, claimed, entries)

    def processing(self, batch: Batch[Any]) -> AbstractContextManager[object]:
        """As `Observer`; the first observer's context is the outermost."""
        return _Nested([each.processing(batch) for each in self._observers])

    def settled(
        self, queue: str, batch_id: str, outcomes: Sequence[Outcome], codes: Sequence[SettleCode] | None
    ) -> None:
        """As `Observer`."""
        for each in self._observers:
            each.settled(queue, batch_id, outcomes, codes)

    def ended(self, queue: str, batch_id: str, end: BatchEnd) -> None:
        """As `Observer`."""
        for each in self._observers:
            each.ended(queue, batch_id, end)

    def quarantined(self, queue: str) -> None:
        """As `Observer`."""
        for each in self._observers:
            each.quarantined(queue)

    def handed_back(self, queue: str, jobs: int) -> None:
        """As `Observer`."""
        for each in self._observers:
            each.handed_back(queue, jobs)

    def resized(self, queue: str, slots: int) -> None:
        """As `Observer`."""
        for each in self._observers:
            each.resized(queue, slots)

    def reclaimed(self, queue: str, jobs: int, failed: int) -> None:
        """As `Observer`."""
        for each in self._observers:
            each.reclaimed(queue, jobs, failed)

    def redis_failed(self, queue: str, operation: str) -> None:
        """As `Observer`."""
        for each in self._observers:
            each.redis_failed(queue, operation)

    def loop_stalled(self) -> None:
        """As `Observer`."""
        for each in self._observers:
            each.loop_stalled()
