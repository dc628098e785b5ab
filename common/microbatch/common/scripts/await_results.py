"""The typed side of `await_results.lua`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from microbatch.common.codec import encode_error
from microbatch.common.scripts.script import Arg, Call, load

if TYPE_CHECKING:
    from collections.abc import Sequence

    from microbatch.common.keys import QueueKeys

__all__ = ["JOB_LOST", "KEPT_MS", "RecordView", "await_results"]

JOB_LOST = encode_error("JobLost", "its queue entry is gone although it has no result")
KEPT_MS = 3_600_000
"""How long an outcome is kept that no worker wrote, where the job itself says nothing."""


@dataclass(frozen=True, slots=True)
class RecordView:
    """A job's state (or `unknown`, `foreign`, `later`) and, once final, its encoded result or error."""

    state: str
    value: bytes | None


def await_results(
    keys: QueueKeys, client: str, locals_: Sequence[str], *, register: bool, check: bool
) -> Call[list[RecordView]]:
    """Read outcomes.

    `register`: be told when the open ones finish. `check`: fail jobs whose entry is gone.
    """
    args: list[Arg] = [client, int(register), int(check), JOB_LOST, KEPT_MS, *locals_]
    return Call(load("await_results"), keys.prefix, args, _parse)


def _parse(reply: Any) -> list[RecordView]:
    return [RecordView(row[0].decode(), row[1] if len(row) > 1 else None) for row in reply]
