"""The typed side of `submit.lua`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from microbatch.common.scripts.script import Arg, Call, load

if TYPE_CHECKING:
    from collections.abc import Sequence

    from microbatch.common.keys import QueueKeys

__all__ = ["NewJob", "SubmitCode", "SubmitReply", "submit"]


class SubmitCode(IntEnum):
    """What became of one job of a submit."""

    NEW = 0
    SAME = 1
    CONFLICT = 2
    FULL = 3
    WRONG_TYPE = 4


@dataclass(slots=True)
class NewJob:
    """One job as it is submitted; `headers` is an encoded map or empty, `ttl_ms` a number or empty."""

    local: str
    digest: bytes
    payload: bytes
    headers: bytes = b""
    ttl_ms: str = ""


@dataclass(frozen=True, slots=True)
class SubmitReply:
    """`codes` is None where every job was new."""

    codes: list[SubmitCode] | None
    retry_after_ms: int


def submit(
    keys: QueueKeys, client: str, jobs: Sequence[NewJob], *, max_queue_length: int
) -> Call[SubmitReply]:
    """Accept jobs into a queue."""
    args: list[Arg] = [client, max_queue_length, len(jobs)]
    for job in jobs:
        options = b"%b %b" % (job.ttl_ms.encode(), job.headers) if job.headers or job.ttl_ms else b""
        args += (job.local, job.digest, job.payload, options)
    return Call(load("submit"), keys.prefix, args, _parse)


def _parse(reply: Any) -> SubmitReply:
    if isinstance(reply, int):
        return SubmitReply(None, 0)
    return SubmitReply([SubmitCode(code) for code in reply[1:]], reply[0])
