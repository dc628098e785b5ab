"""The errors as values: where they say that they come from, and that they survive a journey."""

from __future__ import annotations

import copy
import inspect
import pickle

import pytest

import microbatch.common
from microbatch.common import errors
from microbatch.common.errors import (
    ClientClosed,
    ConnectionFailed,
    DrainTimeout,
    DuplicateJobId,
    JobCancelled,
    JobExpired,
    JobFailed,
    JobTooCostly,
    MicrobatchError,
    NotReplicated,
    PayloadTooLarge,
    QueueDraining,
    QueueFull,
    ResultNotFound,
    ResultTimeout,
    SubmitTimeout,
    TooManyBatchKeys,
)

WITH_FACTS: list[MicrobatchError] = [
    ClientClosed(),
    ConnectionFailed("Redis at redis://h did not answer", "redis://h"),
    DrainTimeout(3, "a second signal"),
    DuplicateJobId("q/a"),
    JobCancelled("q/a"),
    JobExpired("q/a"),
    JobFailed("q/a", error_type="ValueError", error_message="no", error_traceback="Traceback ..."),
    JobTooCostly(7, 5),
    NotReplicated("q/a", wanted=2, reached=1),
    PayloadTooLarge(7, 5),
    QueueDraining("q"),
    QueueFull("q", retry_after_s=0.5),
    ResultNotFound("q/a"),
    ResultTimeout(None, 1.5, missing=3),
    SubmitTimeout("q", 1.5),
    TooManyBatchKeys("q"),
]
OF_A_SENTENCE = [
    kind("what happened")
    for kind in (getattr(errors, name) for name in errors.__all__)
    if kind not in {type(error) for error in WITH_FACTS} | {errors.JobError}
]


def test_tracebacks_name_an_error_where_it_is_imported_from() -> None:
    assert {getattr(errors, name).__module__ for name in errors.__all__} == {"microbatch.common.errors"}


def test_every_error_can_be_imported_from_the_common_package() -> None:
    assert set(errors.__all__) <= set(microbatch.common.__all__)


def test_every_error_that_a_constructor_of_its_own_makes_is_looked_at() -> None:
    of_their_own = {name for name in errors.__all__ if "__init__" in vars(getattr(errors, name))}

    assert of_their_own - {"JobError"} == {type(error).__name__ for error in WITH_FACTS if _has_own(error)}


def _has_own(error: MicrobatchError) -> bool:
    return "__init__" in vars(type(error))


@pytest.mark.parametrize("error", [*WITH_FACTS, *OF_A_SENTENCE], ids=lambda error: type(error).__name__)
def test_an_error_survives_a_journey_to_another_process(error: MicrobatchError) -> None:
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):  # noqa: S301 - made here
        assert type(again) is type(error)
        assert str(again) == str(error)
        assert vars(again) == vars(error)


def test_every_error_says_what_it_is_about() -> None:
    assert [name for name in errors.__all__ if not inspect.getdoc(getattr(errors, name))] == []
