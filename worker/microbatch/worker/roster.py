"""The roster: from what a worker was given to who works for which queue.

Rule: everything that can be wrong about a declaration shows here, before anything is started: two processors
for the same jobs, settings that contradict each other, a schedule that nobody would see to, an annotation
that cannot be understood, a processor that a child process could not find.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from microbatch.common.errors import ProcessorError
from microbatch.common.schedules.schedule import Schedule
from microbatch.common.settings.queue import QueueSettings, queue_settings
from microbatch.worker.declaration import declared, instance_of
from microbatch.worker.fitting import fitting_of
from microbatch.worker.reference import reference_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from microbatch.common.settings import WorkerSettings
    from microbatch.worker.processor import BatchProcessor

__all__ = ["Post", "posts"]


@dataclass(frozen=True, slots=True)
class Post:
    """One queue, and what works for it."""

    settings: QueueSettings
    processors: list[BatchProcessor[Any, Any]]
    schedules: list[Schedule]


def posts(
    candidates: Sequence[object], settings: WorkerSettings, options: Mapping[str, object] | None
) -> list[Post]:
    """Sort processors and schedules by queue, in the order in which queues are named first.

    Args:
        candidates: Decorated functions, `BatchProcessor` classes or instances, and schedules.
        settings: The worker's.
        options: What the command line says per queue.

    Raises:
        ProcessorError: Something that cannot work.
        SettingsError: A value that cannot be used.
    """
    by_queue: dict[str, list[BatchProcessor[Any, Any]]] = {}
    for candidate in candidates:
        if not isinstance(candidate, Schedule):
            processor = instance_of(candidate)
            by_queue.setdefault(processor.queue, []).append(processor)
    if not by_queue:
        raise ProcessorError("a worker needs at least one processor")
    found = []
    for queue, processors in by_queue.items():
        _check_kinds(queue, processors)
        resolved = queue_settings(queue, settings=settings, declared=_declared(processors), cli=options)
        for processor in processors:
            fitting_of(processor)
            if resolved.executor == "process":
                reference_of(processor)
        found.append(Post(resolved, processors, []))
    _add_schedules(found, [each for each in candidates if isinstance(each, Schedule)])
    return found


def _check_kinds(queue: str, processors: Sequence[BatchProcessor[Any, Any]]) -> None:
    kinds = [processor.kind for processor in processors]
    for kind in kinds:
        if kinds.count(kind) > 1:
            whose = f"kind {kind!r} of queue {queue!r}" if kind else f"queue {queue!r}"
            hint = "" if kind else ", or several that each have another kind"
            raise ProcessorError(f"two processors for {whose}: a worker runs one{hint}")


def _declared(processors: Sequence[BatchProcessor[Any, Any]]) -> dict[str, object]:
    """What the processors of a queue declare for it together."""
    said: dict[str, tuple[object, str]] = {}
    for processor in processors:
        for name, value in declared(processor).items():
            before, who = said.setdefault(name, (value, processor.name))
            if before != value:
                raise ProcessorError(
                    f"{name} is the queue's, and {who} says {before!r} where {processor.name} says {value!r}"
                )
    return {name: value for name, (value, _) in said.items()}


def _add_schedules(found: Sequence[Post], schedules: Sequence[Schedule]) -> None:
    by_queue = {post.settings.queue: post for post in found}
    for schedule in schedules:
        post = by_queue.get(schedule.queue)
        if post is None:
            raise ProcessorError(
                f"schedule {schedule.name!r} is of queue {schedule.queue!r}, for which this worker has no "
                "processor"
            )
        if any(schedule.name == other.name for other in post.schedules):
            raise ProcessorError(f"two schedules {schedule.name!r} of queue {schedule.queue!r}")
        post.schedules.append(schedule)
