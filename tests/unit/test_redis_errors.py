"""Every error word of Redis, as redis-py turns it into an exception, gets the right verdict."""

from __future__ import annotations

import pytest
from redis._parsers.base import BaseParser
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from microbatch.common.errors import AuthenticationFailed, ConnectionFailed, ServerError, ServerFull
from microbatch.common.redis_errors import Verdict, translated, verdict

SAID = {
    "READONLY You can't write against a read only replica.": Verdict.RECONNECT,
    "UNBLOCKED the stream key no longer exists": Verdict.RECONNECT,
    "MASTERDOWN Link with MASTER is down": Verdict.RECONNECT,
    "CLUSTERDOWN The cluster is down": Verdict.RETRY,
    "TRYAGAIN Multiple keys request during rehashing of slot": Verdict.RETRY,
    "MOVED 3999 127.0.0.1:6381": Verdict.MOVED,
    "ASK 3999 127.0.0.1:6381": Verdict.ASK,
    "LOADING Redis is loading the dataset in memory": Verdict.RETRY,
    "BUSY Redis is busy running a script.": Verdict.RETRY,
    "MISCONF Redis is configured to save RDB snapshots": Verdict.RETRY,
    "NOREPLICAS Not enough good replicas to write.": Verdict.RETRY,
    "ERR max number of clients reached": Verdict.RETRY,
    "NOSCRIPT No matching script.": Verdict.LOAD,
    "OOM command not allowed when used memory > 'maxmemory'.": Verdict.REFUSE,
    "NOPERM User x has no permissions": Verdict.REFUSE,
    "WRONGPASS invalid username-password pair or user is disabled.": Verdict.REFUSE,
    "NOAUTH Authentication required.": Verdict.REFUSE,
    "WRONGTYPE Operation against a key holding the wrong kind of value": Verdict.REFUSE,
    "ERR DB index is out of range": Verdict.REFUSE,
}


@pytest.mark.parametrize("words", SAID)
def test_each_word_has_its_verdict(words: str) -> None:
    assert verdict(BaseParser.parse_error(words)) is SAID[words]


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("WRONGPASS invalid username-password pair", AuthenticationFailed),
        ("NOPERM User x has no permissions", AuthenticationFailed),
        (
            "ERR ACL failure in script: User x has no permissions to run the 'set' command",
            AuthenticationFailed,
        ),
        ("ERR The user executing the script can't run this command or subcommand", AuthenticationFailed),
        ("OOM command not allowed when used memory > 'maxmemory'.", ServerFull),
        ("WRONGTYPE Operation against a key", ServerError),
        ("LOADING Redis is loading", ConnectionFailed),
        ("READONLY You can't write against a read only replica.", ConnectionFailed),
        ("MOVED 3999 127.0.0.1:6381", ServerError),
    ],
)
def test_each_word_becomes_an_error_of_ours(words: str, kind: type[Exception]) -> None:
    assert type(translated(BaseParser.parse_error(words), "redis://here")) is kind


def test_a_connection_error_about_a_refused_handshake_is_refused_too() -> None:
    wrapped = RedisConnectionError("Error while connecting")
    wrapped.__cause__ = ResponseError("DB index is out of range")

    assert verdict(wrapped) is Verdict.REFUSE
    assert verdict(RedisConnectionError("Connection refused")) is Verdict.RECONNECT
