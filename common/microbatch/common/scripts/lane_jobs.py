"""The typed side of `lane_jobs.lua`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from microbatch.common.scripts.job_sight import JobSight
from microbatch.common.scripts.script import Call, load

if TYPE_CHECKING:
    from collections.abc import Sequence

    from microbatch.common.keys import QueueKeys

__all__ = ["LaneJobs", "Which", "lane_jobs"]

Which = Literal["queued", "running", ""]


class LaneJobs(NamedTuple):
    """A page: Redis's time, the token behind which the next one begins (empty: there is none), the jobs."""

    now_ms: int
    after: str
    jobs: list[JobSight]


def lane_jobs(
    keys: QueueKeys,
    lanes: Sequence[str | bytes],
    *,
    which: Which = "",
    after: str = "",
    not_before_ms: int = 0,
    count: int = 256,
) -> Call[LaneJobs]:
    """A page of the jobs in these lanes; `after` is a token of the first of them."""
    return Call(load("lane_jobs"), keys.prefix, (which, after, not_before_ms, count, *lanes), _parse)


def _parse(reply: Any) -> LaneJobs:
    now_ms, after, jobs = reply
    return LaneJobs(int(now_ms), after.decode("utf-8", "backslashreplace"), [_sight(job) for job in jobs])


def _sight(job: list[Any]) -> JobSight:
    token, worker, batch, size, claimed_ms, payload_bytes, fault, fields = job
    return JobSight(
        dict(zip(fields[::2], fields[1::2], strict=True)),
        int(payload_bytes),
        fault.decode(),
        token.decode("utf-8", "backslashreplace"),
        worker.decode("utf-8", "backslashreplace"),
        batch.decode("utf-8", "backslashreplace"),
        int(size),
        int(claimed_ms),
    )
