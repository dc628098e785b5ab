"""What an errand makes of replies and failures: what was executed, and what nobody knows."""

from __future__ import annotations

import pytest
from redis._parsers.base import BaseParser
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError, RedisError

from microbatch.common.connection.errand import Errand
from microbatch.common.errors import ConnectionFailed, ServerFull
from microbatch.common.redis_errors import translated

FULL = "OOM command not allowed when used memory > 'maxmemory'."


def said(words: str) -> RedisError:
    error: RedisError = BaseParser.parse_error(words)
    return error


def replicated() -> Errand[str]:
    return Errand(("EVALSHA",), "key", replicas=1)


@pytest.mark.parametrize(
    "failed", [RedisConnectionError("reset by peer"), TimeoutError(), OSError("broken pipe")]
)
def test_an_attempt_without_an_answer_may_have_been_executed(failed: Exception) -> None:
    errand = Errand[str](("EVALSHA",), "key")
    errand.judge(failed, None)
    errand.judge(said(FULL), None)

    assert type(translated(said(FULL), "redis://here", in_doubt=errand.in_doubt)) is ConnectionFailed


@pytest.mark.parametrize(
    "words", ["NOSCRIPT No matching script.", "LOADING Redis is loading", "READONLY You can't write"]
)
def test_what_the_server_refused_was_not_executed(words: str) -> None:
    errand = Errand[str](("EVALSHA",), "key")
    errand.judge(said(words), None)
    errand.judge(said(FULL), None)

    assert type(translated(said(FULL), "redis://here", in_doubt=errand.in_doubt)) is ServerFull


def test_what_a_full_server_executed_without_a_fence_is_executed_and_nobody_knows_where() -> None:
    assert replicated().answer([said(FULL), b"reply", 1]) == (b"reply", 0)


def test_what_was_refused_to_a_replicated_errand_is_raised() -> None:
    errand = replicated()
    with pytest.raises(RedisError, match="command not allowed"):
        errand.answer([said(FULL), said(FULL), 1])
    assert not errand.in_doubt


def test_what_was_executed_beside_a_refusal_is_in_doubt() -> None:
    errand = replicated()
    with pytest.raises(ReadOnlyError):
        errand.answer([said("READONLY You can't write"), b"reply", 1])
    assert errand.in_doubt


def test_the_answer_to_a_redirected_command_is_that_of_the_command() -> None:
    assert Errand[str](("GET", "key"), "key", asking=True).answer([b"OK", b"value"]) == b"value"
