"""What the scripts that list jobs tell about one of them; `include/told.lua` says which fields."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["JobSight"]


@dataclass(frozen=True, slots=True)
class JobSight:
    """One job, seen in passing.

    Attributes:
        fields: Those of its entry, without the payload.
        payload_bytes: How large that is.
        fault: Why it is no job: `garbage`, `foreign` or `unknown`; empty where it is one.
        token: Its entry; empty where it has none.
        worker: Who holds it; empty where nobody does.
        batch: In which batch.
        batch_size: How many jobs that has.
        claimed_ms: Since when.
        member: The local id by which it is scheduled, as bytes, because it may be anybody's.
        score: When it is due, as the set has it.
        last_error: The error of its last run, in msgpack, or its beginning.
    """

    fields: Mapping[bytes, bytes]
    payload_bytes: int = 0
    fault: str = ""
    token: str = ""
    worker: str = ""
    batch: str = ""
    batch_size: int = 0
    claimed_ms: int = 0
    member: bytes = b""
    score: str = ""
    last_error: bytes = field(default=b"", repr=False)
