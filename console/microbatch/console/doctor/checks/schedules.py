"""Recurring jobs: does anybody see to them?

Rule: workers look within a second or two of the moment that a schedule names. One whose moment is long over
has nobody who understands it, or its queue has no worker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from microbatch.console.doctor.finding import error

if TYPE_CHECKING:
    from collections.abc import Iterator

    from microbatch.console.doctor.facts import Facts
    from microbatch.console.doctor.finding import Finding

__all__ = ["check_schedules"]

CHECK: Final = "schedules"
LATE_S: Final = 30.0
SHOWN: Final = 3


def check_schedules(facts: Facts) -> Iterator[Finding]:
    """The schedules of each queue that want a look."""
    for queue in facts.queues:
        late = {name: age_s for name, age_s in queue.schedules_wait_s.items() if age_s > LATE_S}
        if not late:
            continue
        names = sorted(late, key=lambda name: -late[name])
        shown = ", ".join(f"{name} (for {late[name]:,.0f} s)" for name in names[:SHOWN])
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        anybody = any(age_s <= facts.heartbeat_limit_s for age_s in queue.beats_age_s.values())
        yield error(
            CHECK,
            f"schedules that no worker sees to: {shown}{more}",
            "see the logs of its workers: they say why they leave it to others (cron expressions need "
            "microbatch[cron])"
            if anybody
            else f"start a worker of queue {queue.name}, or `microbatch cron pause` them",
            subject=queue.name,
        )
