"""Refusals: what a caller is told where a job was not accepted, and when it is worth another try.

Rule: pure but for chance. An error says no more than is known: where an earlier attempt got no answer, a
refusal of its repetition leaves it open whether the job was accepted.
"""

from __future__ import annotations

import copy
import random

from microbatch.common.errors import (
    ConnectionFailed,
    DuplicateJobId,
    MicrobatchError,
    ProtocolError,
    QueueDraining,
    QueueFull,
    SubmitTimeout,
    TooManyBatchKeys,
)
from microbatch.common.scripts import SubmitCode

__all__ = ["doubt", "own_copy", "pause_s", "refusal"]

LONGEST_PAUSE_S = 1.0


def pause_s(full: QueueFull) -> float:
    """How long to wait before trying a full queue again."""
    return min(full.retry_after_s, LONGEST_PAUSE_S) * random.uniform(0.5, 1)  # noqa: S311 - jitter


def refusal(job_id: str, code: SubmitCode, timeout_s: float) -> MicrobatchError:
    """The error of a job that was refused for good."""
    if code is SubmitCode.CONFLICT:
        return DuplicateJobId(job_id)
    queue = job_id.partition("/")[0]
    if code is SubmitCode.CLOSED:
        return QueueDraining(queue)
    if code is SubmitCode.LATE:
        return SubmitTimeout(queue, timeout_s)
    if code is SubmitCode.TOO_MANY_KEYS:
        return TooManyBatchKeys(queue)
    return ProtocolError(f"the key of job {job_id} holds something else than a job record")


def doubt(refused: MicrobatchError) -> MicrobatchError:
    """The error of a job whose repetition was refused: its first attempt may be accepted, now or later."""
    if isinstance(refused, SubmitTimeout | DuplicateJobId):  # says so itself; holds for each attempt
        return refused
    unknown = ConnectionFailed(
        f"an attempt to submit got no answer, and its repetition was refused: {refused}"
    )
    unknown.__cause__ = refused
    return unknown


def own_copy(error: Exception) -> Exception:
    """The error of a flight, for one of its many callers: a shared one would collect all their tracebacks."""
    try:
        own = copy.copy(error)
    except TypeError:  # its constructor takes no sentence
        return error
    own.__cause__ = error.__cause__
    return own
