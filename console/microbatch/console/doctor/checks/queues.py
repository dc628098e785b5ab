"""The queues: do jobs move, and are the keys what they should be?

Rule: jobs that wait although nobody would ever take them are an error; a scheduled start of workers gets a
minute. An operator who holds a queue up with jobs in it may have forgotten it after ten minutes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from microbatch.console.doctor.finding import error, fine, warn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from microbatch.console.doctor.facts import Facts, QueueFacts
    from microbatch.console.doctor.finding import Finding

__all__ = ["check_queues"]

CHECK: Final = "queue"
PATIENCE_S: Final = 60.0
HELD_LONG_S: Final = 600.0


def check_queues(facts: Facts) -> Iterator[Finding]:
    """Keys and waiting jobs of each queue."""
    if not facts.queues:
        yield fine(CHECK, "no queues yet: a queue is there from its first job or worker on")
    for queue in facts.queues:
        if not queue.exists:
            yield error(
                CHECK,
                "there is no such queue",
                "`microbatch status` lists them; a queue is there from its first job or worker on",
                subject=queue.name,
            )
            continue
        yield from _keys(queue)
        yield from _held(queue, facts.heartbeat_limit_s)
        if "paused" not in queue.held:  # else that is why they wait
            yield from _waiting(queue, facts.heartbeat_limit_s)
        for what, words in queue.refusals.items():
            yield warn(
                CHECK,
                f"{what} cannot be seen: {words}",
                "run the doctor as a user who may look at the queue's keys",
                subject=queue.name,
            )


def _keys(queue: QueueFacts) -> Iterator[Finding]:
    for key, found, wanted in queue.foreign:
        yield error(
            CHECK,
            f"{key} holds a {found} instead of a {wanted}: something else wrote to it",
            "find out who; a worker of the queue sets it aside within seconds, and the key is made anew",
            subject=queue.name,
        )
    if not queue.known:
        yield warn(
            CHECK,
            "it is not in mb:queues, so `microbatch status` does not list it",
            f"whoever uses the queue writes it within half a minute; by hand: SADD mb:queues {queue.name}",
            subject=queue.name,
        )
    for name, lane in queue.lanes.items():
        if lane.length and not lane.has_group:
            yield warn(
                CHECK,
                f"lane {name} holds {lane.length} entries and has no consumer group",
                "the next claim of a worker makes it; nothing is lost",
                subject=queue.name,
            )


def _held(queue: QueueFacts, limit_s: float) -> Iterator[Finding]:
    for what, (held_s, who) in queue.held.items():
        told = f"{what} for {held_s / 60:.1f} min by {who}; jobs waiting: {queue.waiting}"
        if not queue.waiting or held_s < HELD_LONG_S:
            yield fine(CHECK, told, subject=queue.name)
        elif what == "paused":
            yield warn(
                CHECK,
                told,
                f"`microbatch queue resume {queue.name}` lets them go, `microbatch queue purge {queue.name}` "
                "cancels them",
                subject=queue.name,
            )
        else:
            alive = sum(age_s <= limit_s for age_s in queue.beats_age_s.values())
            yield warn(
                CHECK,
                f"{told}; workers alive: {alive}",
                f"it does not run dry, and submits are refused meanwhile: add workers, or "
                f"`microbatch queue resume {queue.name}`",
                subject=queue.name,
            )


def _waiting(queue: QueueFacts, limit_s: float) -> Iterator[Finding]:
    if queue.waiting is None:
        return
    alive = sum(age_s <= limit_s for age_s in queue.beats_age_s.values())
    age_s = queue.oldest_age_s or 0.0
    if not queue.waiting:
        yield fine(CHECK, f"nothing waits; workers alive: {alive}", subject=queue.name)
    elif not alive:
        told = f"jobs waiting: {queue.waiting}, the oldest for {age_s:.1f} s, and no worker lives"
        remedy = f"start a worker of queue {queue.name}; the jobs are safe meanwhile"
        say = error if age_s > PATIENCE_S else warn
        yield say(CHECK, told, remedy, subject=queue.name)
    elif age_s > PATIENCE_S:
        yield warn(
            CHECK,
            f"jobs waiting: {queue.waiting}, the oldest for {age_s:.1f} s; workers alive: {alive}",
            "more arrives than leaves: add workers or raise max_batch_size; or a worker is quiet or stuck",
            subject=queue.name,
        )
    else:
        yield fine(
            CHECK,
            f"jobs waiting: {queue.waiting}, the oldest for {age_s:.1f} s; workers alive: {alive}",
            subject=queue.name,
        )
