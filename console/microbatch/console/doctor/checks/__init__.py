"""The checks: each a pure function from the facts to findings, in a file of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from microbatch.console.doctor.checks.access import check_access
from microbatch.console.doctor.checks.clock import check_clocks
from microbatch.console.doctor.checks.keys import check_keys
from microbatch.console.doctor.checks.memory import check_memory
from microbatch.console.doctor.checks.persistence import check_persistence
from microbatch.console.doctor.checks.queues import check_queues
from microbatch.console.doctor.checks.replication import check_replication
from microbatch.console.doctor.checks.schedules import check_schedules
from microbatch.console.doctor.checks.scripts import check_scripts
from microbatch.console.doctor.checks.version import check_versions
from microbatch.console.doctor.checks.workers import check_workers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from microbatch.console.doctor.facts import Facts
    from microbatch.console.doctor.finding import Finding

__all__ = ["CHECKS", "diagnose"]

CHECKS: tuple[Callable[[Facts], Iterable[Finding]], ...] = (
    check_versions,
    check_scripts,
    check_memory,
    check_persistence,
    check_replication,
    check_clocks,
    check_access,
    check_queues,
    check_workers,
    check_schedules,
    check_keys,
)
"""All checks, in the order in which they are told."""


def diagnose(facts: Facts) -> list[Finding]:
    """What there is to say about a deployment."""
    return [finding for check in CHECKS for finding in check(facts)]
