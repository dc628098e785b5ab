"""The typed side of `scheduled_jobs.lua`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from microbatch.common.scripts.job_sight import JobSight
from microbatch.common.scripts.script import Call, load

if TYPE_CHECKING:
    from microbatch.common.keys import QueueKeys

__all__ = ["NOWHERE", "ScheduledJobs", "ScheduledPlace", "scheduled_jobs"]


class ScheduledPlace(NamedTuple):
    """A place in the order of scheduled jobs: a score as the set has it, and a member."""

    score: str
    member: bytes


NOWHERE = ScheduledPlace("", b"")
"""Before the first one, and behind the last."""


class ScheduledJobs(NamedTuple):
    """A page: Redis's time, the place behind which the next one begins (`NOWHERE`: none does), the jobs."""

    now_ms: int
    after: ScheduledPlace
    jobs: list[JobSight]


def scheduled_jobs(
    keys: QueueKeys, *, after: ScheduledPlace = NOWHERE, count: int = 256
) -> Call[ScheduledJobs]:
    """A page of the scheduled jobs, the next one that is due first."""
    return Call(load("scheduled_jobs"), keys.prefix, (*after, count), _parse)


def _parse(reply: Any) -> ScheduledJobs:
    now_ms, score, member, jobs = reply
    return ScheduledJobs(int(now_ms), ScheduledPlace(score.decode(), member), [_sight(*job) for job in jobs])


def _sight(
    member: bytes, score: bytes, payload_bytes: bytes, fault: bytes, last_error: bytes, fields: list[bytes]
) -> JobSight:
    return JobSight(
        dict(zip(fields[::2], fields[1::2], strict=True)),
        int(payload_bytes),
        fault.decode(),
        member=member,
        score=score.decode(),
        last_error=last_error,
    )
