"""Retries: whether a run that failed is followed by another one, and when.

Rule: pure decisions. What the exception wishes is judged where the exception is (`wish_of`), what the job may
have where its entry is (`judged`); time is passed in, and chance, which may be `full_jitter_s`. Runs that a
worker's death or a hand-back cut short are not failures, and use up nothing here. It never sleeps and never
schedules: settling does.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from microbatch.common.errors import ResultMismatch
from microbatch.worker.batch import Retry

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from microbatch.common.jobs.entry import Entry
    from microbatch.common.scripts import Outcome
    from microbatch.common.settings import QueueSettings
    from microbatch.worker.processor import ExceptionTypes

__all__ = ["ASKED_RUNS", "RetryRules", "RetryWish", "full_jitter_s", "judged", "wish_of"]

ASKED_RUNS = 5
"""How many runs a job may have where its processor asks for another one and nobody named a number."""

_MOST_DOUBLINGS = 40


class RetryWish(NamedTuple):
    """What a failed run wishes.

    Attributes:
        asked: Whether the processor asked for another run itself, with `Retry`.
        delay_s: When, in seconds from now; None leaves it to the backoff.
    """

    asked: bool
    delay_s: float | None = None


@dataclass(frozen=True, slots=True)
class RetryRules:
    """Which exceptions are worth another run.

    Attributes:
        retry_on: These are.
        give_up_on: These are not, although `retry_on` names them.
    """

    retry_on: tuple[type[BaseException], ...] = (Exception,)
    give_up_on: tuple[type[BaseException], ...] = ()

    @classmethod
    def of(cls, retry_on: ExceptionTypes, give_up_on: ExceptionTypes) -> RetryRules:
        """Rules as a processor declares them: one class, or a tuple of them."""
        return cls(*(kinds if isinstance(kinds, tuple) else (kinds,) for kinds in (retry_on, give_up_on)))


def wish_of(error: BaseException, rules: RetryRules) -> RetryWish | None:
    """What a run that ended with `error` wishes; None: no other run.

    A wrong number of results would come again in every run.
    """
    if isinstance(error, Retry):
        return RetryWish(asked=True, delay_s=error.delay_s)
    if isinstance(error, (ResultMismatch, *rules.give_up_on)):
        return None
    return RetryWish(asked=False) if isinstance(error, rules.retry_on) else None


def judged(
    outcomes: Sequence[Outcome],
    rules: RetryRules,
    settings: QueueSettings,
    *,
    now_ms: int,
    spread: Callable[[float], float],
) -> list[Outcome]:
    """The same outcomes, where those that may be repeated are no failures any more.

    Args:
        outcomes: How the runs of a batch's jobs ended; the cause of a failure is an exception, or the wish of
            one that was raised in another process.
        rules: Which exceptions are worth another run.
        settings: Of the queue.
        now_ms: Redis's time, about: a run that could not begin before its job's deadline is none.
        spread: Chance: maps the longest delay to one between 0 and it (full jitter).
    """
    return [
        outcome if outcome.cause is None else _judged(outcome, rules, settings, now_ms, spread)
        for outcome in outcomes
    ]


def _judged(
    outcome: Outcome,
    rules: RetryRules,
    settings: QueueSettings,
    now_ms: int,
    spread: Callable[[float], float],
) -> Outcome:
    cause, entry = outcome.cause, outcome.entry
    wish = wish_of(cause, rules) if isinstance(cause, BaseException) else cause
    if not isinstance(wish, RetryWish) or entry.failures + 1 >= _most_runs(entry, wish, settings):
        return outcome
    delay_s = wish.delay_s
    if delay_s is None:
        delay_s = spread(backoff_s(entry.failures + 1, settings))
    delay_ms = max(0, round(delay_s * 1000))
    if entry.expires_ms is not None and now_ms + delay_ms > entry.expires_ms:
        return outcome
    return replace(outcome, state="retry", delay_ms=delay_ms)


def backoff_s(failures: int, settings: QueueSettings) -> float:
    """The longest delay after that many failures: doubling, up to the limit."""
    doublings = min(failures - 1, _MOST_DOUBLINGS)
    return min(settings.retry_backoff_limit_s, settings.retry_backoff_s * float(2**doublings))


def _most_runs(entry: Entry, wish: RetryWish, settings: QueueSettings) -> int:
    named = entry.max_attempts or settings.max_attempts
    if named is not None:
        return named
    return ASKED_RUNS if wish.asked else 1


def full_jitter_s(limit_s: float) -> float:
    """Any delay from 0 to the limit, so that what failed together does not come back together."""
    return random.uniform(0, limit_s)  # noqa: S311 - jitter
