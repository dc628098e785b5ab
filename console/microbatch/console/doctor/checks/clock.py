"""The clocks of this host and of Redis.

Rule: heartbeats, waiting times and time-outs are judged by Redis's clock alone, so a difference breaks no
guarantee; it shifts times that people and programs give or read (`run_at`, deadlines, dates of jobs).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from microbatch.console.doctor.finding import error, fine, warn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from microbatch.console.doctor.facts import Facts
    from microbatch.console.doctor.finding import Finding

__all__ = ["check_clocks"]

CHECK: Final = "clock"
NOTICED_S: Final = 1.0
WRONG_S: Final = 30.0
REMEDY: Final = (
    "synchronise both hosts' clocks (chrony, systemd-timesyncd); `chronyc tracking` shows the offset"
)


def check_clocks(facts: Facts) -> Iterator[Finding]:
    """The difference to each server's clock."""
    for server in facts.servers:
        clock = server.clock
        if clock is None:
            continue
        off_s = abs(clock.ahead_s)
        where = "ahead of" if clock.ahead_s > 0 else "behind"
        told = f"Redis's clock is {off_s:.3f} s {where} this host's (known to {clock.uncertain_s:.3f} s)"
        certain_s = off_s - clock.uncertain_s
        if certain_s >= WRONG_S:
            yield error(CHECK, f"{told}: times of jobs are wrong", REMEDY, subject=server.name)
        elif certain_s >= NOTICED_S:
            yield warn(CHECK, told, REMEDY, subject=server.name)
        else:
            yield fine(CHECK, told, subject=server.name)
