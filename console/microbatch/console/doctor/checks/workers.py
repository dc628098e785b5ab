"""Workers and what they hold: is there anything that nobody looks after?

Rule: the living take over what a dead worker held within the heartbeat limit and a second. What is older
than that is stuck, and has a reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from microbatch.console.doctor.finding import error, warn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from microbatch.console.doctor.facts import Facts, QueueFacts
    from microbatch.console.doctor.finding import Finding

__all__ = ["check_workers"]

CHECK: Final = "workers"
TAKEOVER_S: Final = 2.0
"""How long after the heartbeat limit a takeover may still be on its way."""
SHOWN: Final = 3


def check_workers(facts: Facts) -> Iterator[Finding]:
    """Consumers and heartbeats of each queue."""
    for queue in facts.queues:
        if queue.exists:
            yield from _stuck(queue, facts.heartbeat_limit_s)
            yield from _unlisted(queue, facts.heartbeat_limit_s)
            yield from _idle_leftovers(queue, facts.heartbeat_limit_s)
            yield from _never_claimed(queue, facts.heartbeat_limit_s)


def _held(queue: QueueFacts) -> dict[str, int]:
    held: dict[str, int] = {}
    for lane in queue.lanes.values():
        for consumer, entries in lane.pending.items():
            held[consumer] = held.get(consumer, 0) + entries
    return held


def _is_alive(queue: QueueFacts, worker: str, limit_s: float) -> bool:
    return queue.beats_age_s.get(worker, limit_s + 1) <= limit_s


def _stuck(queue: QueueFacts, limit_s: float) -> Iterator[Finding]:
    anybody = any(age_s <= limit_s for age_s in queue.beats_age_s.values())
    for worker, entries in _held(queue).items():
        age_s = queue.beats_age_s.get(worker)
        if not entries or (age_s is not None and age_s <= limit_s + TAKEOVER_S):
            continue
        if age_s is None:
            yield error(
                CHECK,
                f"jobs held by {worker}, which has no heartbeat at all: {entries}; nobody takes them over",
                f"ZADD mb:{{{queue.name}}}:workers NX 0 {worker}; the next worker that beats takes them over",
                subject=queue.name,
            )
            continue
        told = f"jobs held by {worker}, silent for {age_s:.1f} s (limit {limit_s:g} s): {entries}"
        yield error(
            CHECK,
            f"{told}; " + ("no takeover came" if anybody else "no worker lives that would take them over"),
            "see the log of a living worker: it says why it cannot take over"
            if anybody
            else f"start a worker of queue {queue.name}",
            subject=queue.name,
        )


def _unlisted(queue: QueueFacts, limit_s: float) -> Iterator[Finding]:
    for name, lane in queue.lanes.items():
        for worker, entries in lane.unlisted.items():
            if _is_alive(queue, worker, limit_s):
                yield warn(
                    CHECK,
                    f"entries of lane {name} pending under {worker}, alive, but in none of its batches: "
                    f"{entries}; somebody read the stream by hand",
                    "restart that worker: what it holds is then taken over",
                    subject=queue.name,
                )


def _idle_leftovers(queue: QueueFacts, limit_s: float) -> Iterator[Finding]:
    held = _held(queue)
    silent = [
        worker
        for worker, entries in held.items()
        if not entries and not _is_alive(queue, worker, limit_s + TAKEOVER_S)
    ]
    if silent:
        yield warn(
            CHECK,
            f"consumers without heartbeat, which hold nothing: {_some(silent)}",
            f"harmless; to tidy up: XGROUP DELCONSUMER mb:{{{queue.name}}}:lane:main workers NAME",
            subject=queue.name,
        )
    gone = [
        worker
        for worker, age_s in queue.beats_age_s.items()
        if age_s > limit_s + TAKEOVER_S and worker not in held
    ]
    if gone:
        yield warn(
            CHECK,
            f"workers that stopped beating without leaving, and hold nothing: {_some(gone)}",
            f"the next worker of queue {queue.name} that starts forgets them",
            subject=queue.name,
        )


def _never_claimed(queue: QueueFacts, limit_s: float) -> Iterator[Finding]:
    """A worker of an empty queue has no consumer yet; one of a queue where jobs wait should have."""
    if not queue.waiting or (queue.oldest_age_s or 0.0) <= limit_s:
        return
    held = _held(queue)
    lazy = [
        worker for worker in queue.beats_age_s if _is_alive(queue, worker, limit_s) and worker not in held
    ]
    if lazy:
        yield warn(
            CHECK,
            f"workers that beat and have never claimed although jobs wait: {_some(lazy)}",
            "see `microbatch workers`: they are quiet (`workers send resume` ends it), or their logs say why "
            "their claims fail",
            subject=queue.name,
        )


def _some(names: list[str]) -> str:
    shown = ", ".join(sorted(names)[:SHOWN])
    return shown if len(names) <= SHOWN else f"{shown} and {len(names) - SHOWN} more"
