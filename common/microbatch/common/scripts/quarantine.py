"""The typed side of `quarantine.lua`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from microbatch.common.codec import encode_error
from microbatch.common.scripts.script import Call, load

if TYPE_CHECKING:
    from microbatch.common.jobs.entry import Entry
    from microbatch.common.keys import QueueKeys

__all__ = ["Fault", "quarantine"]


@dataclass(frozen=True, slots=True)
class Fault:
    """Why nothing can process an entry."""

    error_type: str
    message: str


def quarantine(
    keys: QueueKeys, holder: tuple[str, str], entry: Entry, fault: Fault, *, ttl_ms: int, dead_max_length: int
) -> Call[bool]:
    """Move one entry to the dead stream; `holder` is (worker, batch id). False: the entry was gone."""
    args = (
        *holder,
        entry.token,
        entry.local,
        entry.client,
        encode_error(fault.error_type, fault.message),
        ttl_ms if entry.ttl_ms == "" else entry.ttl_ms,
        dead_max_length,
        entry.attempt,
    )
    return Call(load("quarantine"), keys.prefix, args, bool)
