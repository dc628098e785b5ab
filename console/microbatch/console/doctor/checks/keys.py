"""Keys that nobody will use or delete any more.

Rule: a walk through the keys is bounded; whether it saw all is said.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from microbatch.console.doctor.finding import error, fine, warn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from microbatch.console.doctor.facts import Facts
    from microbatch.console.doctor.finding import Finding

__all__ = ["check_keys"]

CHECK: Final = "keys"
SHOWN: Final = 3


def check_keys(facts: Facts) -> Iterator[Finding]:
    """What the walk found."""
    keys = facts.keys
    if "WRONGTYPE" in keys.names_refusal:
        yield error(
            CHECK,
            "mb:queues holds something else than a set: no client can open a queue",
            "find out who wrote it; then RENAME mb:queues to another name, and it is made anew",
        )
    elif keys.names_refusal:
        yield warn(
            CHECK,
            f"the list of queues cannot be read: {keys.names_refusal}",
            "name the queues: microbatch doctor QUEUE; or be a user who may SMEMBERS mb:queues",
        )
    if keys.refusal:
        yield warn(
            CHECK,
            f"orphaned keys cannot be looked for: {keys.refusal}",
            "run the doctor as a user who may use SCAN",
        )
        return
    for queue in keys.nameless:
        yield warn(
            CHECK,
            f"queue {queue} has keys and is not in mb:queues",
            f"whoever uses the queue writes it within half a minute; by hand: SADD mb:queues {queue}",
        )
    for what, names in keys.orphans.items():
        shown = ", ".join(names[:SHOWN])
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        yield warn(
            CHECK, f"{len(names)} {what}: {shown}{more}", "nothing of ours needs them: DEL removes them"
        )
    if not keys.nameless and not keys.orphans:
        scope = "all" if keys.complete else "the first"
        yield fine(CHECK, f"no orphans among {scope} {keys.seen:,} keys")
