"""Judge what a processor answered: exactly one outcome per job, and never another job's result.

Rule: pure functions of (batch, answer). An answer of the wrong shape fails the whole batch rather than being
stretched or cut to fit, because a shifted list would give every job its neighbour's result.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from microbatch.common.codec import encode, encode_error
from microbatch.common.errors import PayloadError, PayloadTooLarge, ResultMismatch
from microbatch.common.models import encode_model
from microbatch.common.scripts import Outcome

if TYPE_CHECKING:
    from microbatch.common.jobs.entry import Entry
    from microbatch.worker.batch import Batch
    from microbatch.worker.executor import BatchLost

__all__ = ["crashed", "describe", "failures", "outcome_of", "outcomes"]

TRACEBACK_LIMIT_CHARS = 16_384
MESSAGE_LIMIT_CHARS = 4_096
LOGGED_CHARS = 500


def outcomes(
    batch: Batch[Any],
    entries: Sequence[Entry],
    answer: object,
    *,
    mapping_allowed: bool,
    max_result_bytes: int,
) -> list[Outcome]:
    """One outcome per job, in the batch's order.

    Args:
        batch: What the processor was given.
        entries: The entries of the same jobs, in the same order.
        answer: What it returned.
        mapping_allowed: Whether results by job id are an answer (not for functions over payloads).
        max_result_bytes: A larger encoded result fails its own job.

    Raises:
        ResultMismatch: The answer is not one result per job.
    """
    results = _in_order(batch, answer, mapping_allowed=mapping_allowed)
    return [
        outcome_of(entry, result, max_result_bytes) for entry, result in zip(entries, results, strict=True)
    ]


def failures(entries: Sequence[Entry], error: BaseException) -> list[Outcome]:
    """Every job fails with this error: the processor raised it."""
    value = _encoded(error)
    return [Outcome(entry, "failed", value, cause=error) for entry in entries]


def _in_order(batch: Batch[Any], answer: object, *, mapping_allowed: bool) -> Sequence[Any]:
    if isinstance(answer, list | tuple):
        if len(answer) != len(batch):
            raise ResultMismatch(f"{len(answer)} results for {len(batch)} jobs")
        return answer
    if isinstance(answer, Mapping) and mapping_allowed:
        ids = [job.id for job in batch]
        missing = [job_id for job_id in ids if job_id not in answer]
        if missing:
            raise ResultMismatch(f"no result for job {missing[0]} (of {len(missing)} without one)")
        if len(answer) != len(set(ids)):  # a foreign client may have added one id twice
            unknown = next(iter(set(answer) - set(ids)), None)
            raise ResultMismatch(f"a result for {unknown!r:.200}, which is not in the batch")
        return [answer[job_id] for job_id in ids]
    wanted = "a list, a tuple, or a mapping by job id" if mapping_allowed else "a list or a tuple"
    raise ResultMismatch(f"{type(answer).__name__} is no answer to a batch; return {wanted}")


def outcome_of(entry: Entry, result: Any, max_result_bytes: int) -> Outcome:
    """How a run of one job ended, by its result or by the exception in its place."""
    if isinstance(result, BaseException):
        return Outcome(entry, "failed", _encoded(result), cause=result)
    try:
        return Outcome(entry, "succeeded", _encoded_result(result, max_result_bytes))
    except PayloadTooLarge as error:
        return Outcome(entry, "failed", encode_error("ResultTooLarge", str(error)))
    except PayloadError as error:
        return Outcome(entry, "failed", encode_error("PayloadError", f"the result: {error}"))
    except Exception as error:  # noqa: BLE001 - a dict or a time zone of the user's own may raise anything
        what = f"the result: encoding it raised {describe(error)}"
        return Outcome(entry, "failed", encode_error("PayloadError", what))


def _encoded_result(result: Any, limit_bytes: int) -> bytes:
    try:
        return encode(result, limit_bytes=limit_bytes)
    except PayloadError as refusal:
        return encode_model(result, refusal, limit_bytes=limit_bytes)


def crashed(lost: BatchLost, entries: Sequence[Entry], max_crashes: int) -> Outcome | None:
    """The end of a job that has killed the process in which it ran alone once too often; None: not yet."""
    if not lost.died or len(entries) > 1 or entries[0].crashes + 1 < max_crashes:
        return None
    return Outcome(entries[0], "failed", encode_error("WorkerLost", f"{lost}, for the {max_crashes}. time"))


def describe(error: BaseException) -> str:
    """One short sentence about an error of the user's; never fails."""
    return f"{type(error).__name__}: {_message(error)[:LOGGED_CHARS]}"


def _encoded(error: BaseException) -> bytes:
    try:
        text = "".join(traceback.format_exception(error))
    except BaseException as broken:  # noqa: BLE001 - as in _message
        text = f"(its traceback cannot be shown: {type(broken).__name__})"
    message = _message(error)[:MESSAGE_LIMIT_CHARS]
    return encode_error(type(error).__name__, message, text[-TRACEBACK_LIMIT_CHARS:])


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException as broken:  # noqa: BLE001 - a user's __str__ may raise anything
        return f"(its message cannot be shown: {type(broken).__name__})"
