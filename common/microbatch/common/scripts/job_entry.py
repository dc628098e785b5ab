"""The typed side of `job_entry.lua`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from microbatch.common.scripts.job_sight import JobSight
from microbatch.common.scripts.script import Call, load

if TYPE_CHECKING:
    from microbatch.common.keys import QueueKeys

__all__ = ["job_entry"]


def job_entry(keys: QueueKeys, local: str, *, with_payload: bool = False) -> Call[JobSight | None]:
    """The entry of a job that is not finished; None where it has none."""
    return Call(load("job_entry"), keys.prefix, (local, 1 if with_payload else 0), _parse)


def _parse(reply: Any) -> JobSight | None:
    if not reply:
        return None
    token, payload_bytes, fields = reply
    named = dict(zip(fields[::2], fields[1::2], strict=True))
    return JobSight(named, int(payload_bytes), token=token.decode("utf-8", "backslashreplace"))
