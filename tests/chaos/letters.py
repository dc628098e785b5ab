"""The judge of dead letters: a pure function from records, letters and orders to what was wrong.

Rule: a job that failed has one letter, of its last run, and any other job has none. Only what an operator
had deleted may be missing; what he was told is deleted must be. That the job's outcome stays is judged with
all outcomes: a record that went with its letter is a lost job.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.chaos.history import ROUNDING_S

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from tests.chaos.orders import Order
    from tests.chaos.run.observer import Record

__all__ = ["ALL", "PURGE_LETTERS", "letter_faults"]

PURGE_LETTERS = "dead purge"
ALL = "all"
"""In the place of letters: every one of the queue. Else each word is a letter's id, `=`, and its job."""


def letter_faults(
    records: Mapping[str, Record], letters: Mapping[str, Sequence[str]], orders: Iterable[Order]
) -> Iterator[str]:
    """What was wrong.

    Args:
        records: Of the jobs that are final.
        letters: The ids of each job's dead letters, in the end.
        orders: All that operators asked for.
    """
    purges = [order for order in orders if order.name == PURGE_LETTERS]
    for job, record in records.items():
        found = letters.get(job, ())
        failed = record.outcome.state == "failed"
        if len(found) > 1 or (found and not failed):
            yield f"{job} is {record.outcome.state} and has {len(found)} dead letters"
        elif failed and not found and not any(_may_have_taken(each, job, record) for each in purges):
            yield f"{job} is failed and has no dead letter"
        elif found and any(_must_have_taken(each, job, found[0]) for each in purges):
            yield f"{job} has a dead letter that was purged"


def _may_have_taken(purge: Order, job: str, record: Record) -> bool:
    if _is_all_of(purge, job):
        return purge.until_s >= record.ended_s - ROUNDING_S
    # Whoever named it had seen it: an earlier run's letter is not that of the last one.
    return _named(purge, job) != "" and purge.asked_s >= record.ended_s - ROUNDING_S


def _must_have_taken(purge: Order, job: str, letter: str) -> bool:
    if not purge.is_sure:
        return False
    if _is_all_of(purge, job):
        return int(letter.partition("-")[0]) / 1000 < purge.asked_s - ROUNDING_S
    return _named(purge, job) == letter


def _is_all_of(purge: Order, job: str) -> bool:
    return purge.words == (ALL,) and purge.target == job.partition("/")[0]


def _named(purge: Order, job: str) -> str:
    return next((word.partition("=")[0] for word in purge.words if word.partition("=")[2] == job), "")
