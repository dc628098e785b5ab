"""Which failures are followed by another run, and when."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.chaos.kit import make_entry

from microbatch.common.errors import ConnectionFailed, ResultMismatch
from microbatch.common.scripts import Outcome
from microbatch.common.settings import WorkerSettings
from microbatch.common.settings.queue import QueueSettings, queue_settings
from microbatch.worker import Retry
from microbatch.worker.retries import ASKED_RUNS, RetryRules, RetryWish, backoff_s, judged, wish_of

NOW_MS = 1_000_000


def settings(**more: Any) -> QueueSettings:
    return queue_settings("q", settings=WorkerSettings(**more))


def judge(
    cause: object,
    *,
    failures: int = 0,
    max_attempts: int | None = None,
    expires_ms: int | None = None,
    rules: RetryRules | None = None,
    queue_attempts: int | None = None,
    **more: Any,
) -> Outcome:
    entry = make_entry("a")
    entry.failures, entry.max_attempts, entry.expires_ms = failures, max_attempts, expires_ms
    (outcome,) = judged(
        [Outcome(entry, "failed", b"error", cause=cause)],
        rules or RetryRules(),
        settings(max_attempts=queue_attempts, **more),
        now_ms=NOW_MS,
        spread=lambda limit_s: limit_s,
    )
    return outcome


def test_an_exception_fails_the_job_at_once_where_nobody_named_a_number_of_attempts() -> None:
    assert judge(ValueError()).state == "failed"


@pytest.mark.parametrize(("failures", "state"), [(0, "retry"), (1, "retry"), (2, "failed"), (9, "failed")])
def test_max_attempts_counts_all_runs_that_failed(failures: int, state: str) -> None:
    assert judge(ValueError(), failures=failures, max_attempts=3).state == state


def test_the_jobs_own_number_goes_before_the_queues() -> None:
    assert judge(ValueError(), failures=1, max_attempts=None, queue_attempts=3).state == "retry"
    assert judge(ValueError(), failures=1, max_attempts=2, queue_attempts=9).state == "failed"


def test_runs_that_a_dead_worker_cut_short_use_up_no_attempt() -> None:
    entry = make_entry("a")
    entry.attempt, entry.failures, entry.max_attempts = 7, 0, 2
    (outcome,) = judged(
        [Outcome(entry, "failed", b"", cause=OSError())],
        RetryRules(),
        settings(),
        now_ms=NOW_MS,
        spread=lambda limit_s: limit_s,
    )
    assert outcome.state == "retry"


def test_a_retry_that_the_processor_asks_for_needs_no_number_but_is_bounded() -> None:
    states = [judge(Retry(delay_s=0.5), failures=count).state for count in range(ASKED_RUNS + 1)]
    assert states == ["retry"] * (ASKED_RUNS - 1) + ["failed"] * 2
    assert judge(Retry(), failures=2, max_attempts=3).state == "failed"


def test_the_delay_that_the_processor_names_is_taken_and_else_the_backoff() -> None:
    assert judge(Retry(delay_s=0.25)).delay_ms == 250
    assert judge(Retry(delay_s=0)).delay_ms == 0
    assert judge(Retry(delay_s=-3)).delay_ms == 0
    assert judge(Retry(), retry_backoff_s=2).delay_ms == 2000
    assert judge(ValueError(), failures=2, max_attempts=9, retry_backoff_s=2).delay_ms == 8000


def test_only_the_named_exceptions_are_worth_another_run() -> None:
    rules = RetryRules.of((OSError, KeyError), FileNotFoundError)
    assert judge(OSError(), max_attempts=2, rules=rules).state == "retry"
    assert judge(KeyError(), max_attempts=2, rules=rules).state == "retry"
    assert judge(FileNotFoundError(), max_attempts=2, rules=rules).state == "failed"
    assert judge(ValueError(), max_attempts=2, rules=rules).state == "failed"
    assert judge(Retry(), rules=rules).state == "retry"


def test_a_wrong_number_of_results_is_not_tried_again_but_an_error_of_another_client_is() -> None:
    assert judge(ResultMismatch("3 results for 2 jobs"), max_attempts=9).state == "failed"
    assert judge(ConnectionFailed("no answer"), max_attempts=9).state == "retry"


def test_an_exit_is_no_exception_unless_it_is_named() -> None:
    assert judge(SystemExit(1), max_attempts=9).state == "failed"
    assert judge(SystemExit(1), max_attempts=9, rules=RetryRules.of(BaseException, ())).state == "retry"


def test_a_run_that_could_not_begin_before_the_deadline_is_none() -> None:
    assert judge(Retry(delay_s=1), expires_ms=NOW_MS + 999).state == "failed"
    assert judge(Retry(delay_s=1), expires_ms=NOW_MS + 1000).state == "retry"


def test_a_wish_from_another_process_counts_as_the_exception_would() -> None:
    assert judge(RetryWish(asked=True, delay_s=1)).delay_ms == 1000
    assert judge(RetryWish(asked=False)).state == "failed"
    assert wish_of(Retry(delay_s=2), RetryRules()) == RetryWish(asked=True, delay_s=2)


def test_what_succeeded_or_failed_without_a_cause_stays_as_it_is() -> None:
    assert judge(None, max_attempts=9).state == "failed"


@given(
    failures=st.integers(1, 10**9),
    base_s=st.floats(0, 1000),
    limit_s=st.floats(0, 10_000),
)
def test_the_backoff_doubles_up_to_its_limit_and_never_overflows(
    failures: int, base_s: float, limit_s: float
) -> None:
    some = settings(retry_backoff_s=base_s, retry_backoff_limit_s=limit_s)
    longest_s = backoff_s(failures, some)
    assert 0 <= longest_s <= limit_s
    assert longest_s <= backoff_s(failures + 1, some)
    if failures == 1:
        assert longest_s == min(base_s, limit_s)
