"""The typed side of `job_records.lua`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from microbatch.common.jobs.states import FINAL_STATES
from microbatch.common.scripts.script import Call, load

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from microbatch.common.keys import QueueKeys

__all__ = ["BriefRecord", "BriefRecords", "job_records"]


class BriefRecord(NamedTuple):
    """A record in short, as it is stored; empty is what it does not say."""

    local: bytes
    state: bytes
    enqueued_ms: bytes
    finished_ms: bytes
    attempt: bytes
    batch: bytes
    error: bytes
    run: bytes


class BriefRecords(NamedTuple):
    """Redis's time, and the records that there are."""

    now_ms: int
    records: list[BriefRecord]


def job_records(
    keys: QueueKeys, locals_: Sequence[str | bytes], states: Collection[str] = FINAL_STATES
) -> Call[BriefRecords]:
    """What the records of those of these jobs that ended in one of these states say in short."""
    return Call(load("job_records"), keys.prefix, (" ".join(sorted(states)), *locals_), _parse)


def _parse(reply: Any) -> BriefRecords:
    now_ms, records = reply
    return BriefRecords(int(now_ms), [BriefRecord(*record) for record in records])
