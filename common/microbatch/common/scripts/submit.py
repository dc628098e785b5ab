"""The typed side of `submit.lua`."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from microbatch.common.scripts.script import Arg, Call, load

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from microbatch.common.keys import QueueKeys

__all__ = ["JobOptions", "NewJob", "SubmitCode", "SubmitReply", "submit"]


class SubmitCode(IntEnum):
    """What became of one job of a submit."""

    NEW = 0
    SAME = 1
    CONFLICT = 2
    FULL = 3
    WRONG_TYPE = 4
    LATE = 5
    TAKEN = 6
    """Another job has its unique key: `SubmitReply.firsts` has that one's id."""
    TOO_MANY_KEYS = 7
    """It would open a lane, and the queue has `max_batch_keys` of them."""
    CLOSED = 8
    """An operator lets the queue drain: it takes nothing new."""


class JobOptions(NamedTuple):
    """What makes a job more than a plain one; everything has a default.

    Attributes:
        headers: An encoded map, or empty.
        ttl_ms: How long its result is kept, as a number; empty leaves it to the worker.
        max_attempts: How many runs it may have; None leaves it to the worker.
        expires_in_ms: By when it must have been started, from now; None: no deadline.
        delay_ms: Not to be run before that, from now; None: at once.
        due_ms: Not to be run before this moment of Redis's clock; None: at once.
        unique_for_ms: How long it has its key at least, from now; None: while it is alive.
        priority: Higher goes first; None: 0.
        cost: What it takes, in a unit of the caller's choice; None: 1.
        max_batch_keys: How many lanes may be open for this job to open another; None: no limit.
        batch_key: Only jobs of one key share a batch; a name, or empty: none.
        unique: A key that only one job may have, without white space and `=`; empty: none.
    """

    headers: bytes = b""
    ttl_ms: str = ""
    max_attempts: int | None = None
    expires_in_ms: int | None = None
    delay_ms: int | None = None
    due_ms: int | None = None
    unique_for_ms: int | None = None
    priority: int | None = None
    cost: int | None = None
    max_batch_keys: int | None = None
    batch_key: str = ""
    unique: str = ""

    def encoded(self) -> bytes:
        """As the script reads them: `name=value` words, and after a line feed the headers."""
        words = [f"ttl_ms={self.ttl_ms}"] if self.ttl_ms else []
        words += [
            f"{name}={number}"
            for name, number in zip(_NUMBERS, self[2:-2], strict=True)
            if number is not None
        ]
        words += [f"batch_key={self.batch_key}"] if self.batch_key else []
        words += [f"unique={self.unique}"] if self.unique else []
        if not words and not self.headers:
            return b""
        return b"%b\n%b" % (" ".join(words).encode(), self.headers)


_NUMBERS = JobOptions._fields[2:-2]


@dataclass(slots=True)
class NewJob:
    """One job as it is submitted.

    Attributes:
        local: The second half of its id.
        digest: Tells its payload from another one.
        payload: The encoded payload.
        options: An encoded `JobOptions`; empty for a plain job.
        not_after_ms: Not to be accepted after this moment of Redis's clock; None: no limit of its own.
    """

    local: str
    digest: bytes
    payload: bytes
    options: bytes = b""
    not_after_ms: int | None = None

    @property
    def said(self) -> bytes:
        """The options as they travel."""
        if self.not_after_ms is None:
            return self.options
        return b"not_after_ms=%d %b" % (self.not_after_ms, self.options or b"\n")


@dataclass(frozen=True, slots=True)
class SubmitReply:
    """What became of the jobs of one call.

    Attributes:
        codes: One for each; None: every job was new.
        retry_after_ms: When room is likely, where some found none.
        reached: How many replicas have them, where these are too few.
        firsts: By index, the local id of the job that has the unique key.
        in_doubt: Whether an earlier attempt got no answer: jobs that were not accepted may be yet.
    """

    codes: list[SubmitCode] | None
    retry_after_ms: int
    reached: int | None = None
    firsts: Mapping[int, str] = field(default_factory=dict)
    in_doubt: bool = False


_ALL_NEW = SubmitReply(None, 0)


def submit(
    keys: QueueKeys,
    client: str,
    jobs: Sequence[NewJob],
    *,
    max_queue_length: int,
    not_after_ms: int | None = None,
) -> Call[SubmitReply]:
    """Accept jobs into a queue; none of them after `not_after_ms` of Redis's clock."""
    args: list[Arg] = [client, max_queue_length, len(jobs), "" if not_after_ms is None else not_after_ms]
    for job in jobs:
        args += (job.local, job.digest, job.payload, job.said)
    return Call(load("submit"), keys.prefix, args, _parse, _doubted)


def _doubted(reply: SubmitReply) -> SubmitReply:
    return replace(reply, in_doubt=True)


def _parse(reply: Any) -> SubmitReply:
    if isinstance(reply, int):
        return _ALL_NEW
    firsts = {index: code.decode() for index, code in enumerate(reply[1:]) if isinstance(code, bytes)}
    codes = [SubmitCode.TAKEN if isinstance(code, bytes) else SubmitCode(code) for code in reply[1:]]
    return SubmitReply(codes, reply[0], firsts=firsts)
