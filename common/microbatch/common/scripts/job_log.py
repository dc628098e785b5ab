"""The typed side of `job_log.lua`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from microbatch.common.errors import ProtocolError
from microbatch.common.scripts.script import Call, load
from microbatch.common.stored_numbers import number_of

if TYPE_CHECKING:
    from microbatch.common.keys import QueueKeys

__all__ = ["LogView", "job_log"]


@dataclass(frozen=True, slots=True)
class LogView:
    """A log: how many lines there were, how many of them are kept, and those, packed."""

    total: int
    kept: int
    packed: bytes


def job_log(keys: QueueKeys, local: str, known: int = 0) -> Call[LogView | None]:
    """A job's log; empty where the caller knows all its lines, None where there is no record."""
    return Call(load("job_log"), keys.prefix, (local, known), _parse)


def _parse(reply: Any) -> LogView | None:
    if not reply:
        return None
    if reply[0] == b"foreign":
        raise ProtocolError("the job's key holds something else than a job record")
    total, kept, packed = reply
    return LogView(number_of(total) or 0, number_of(kept) or 0, packed)
