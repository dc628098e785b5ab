"""What redis-py raises, sorted: the one place that knows its error classes and Redis's error words.

Rule: `verdict` says what a connection should do about an error, `translated` what a user sees in the end;
redis-py's own error stays its `__cause__`. Nothing here does I/O.
"""

from __future__ import annotations

from enum import Enum, auto

from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    ClusterDownError,
    MaxConnectionsError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from microbatch.common.errors import (
    AuthenticationFailed,
    ConnectionFailed,
    MicrobatchError,
    ServerError,
    ServerFull,
)

__all__ = ["FOREIGN_ERRORS", "Verdict", "translated", "verdict"]

FOREIGN_ERRORS = (RedisError, OSError, TimeoutError)
"""What a call through redis-py can raise for reasons of the network or the server."""

_REFUSED = (AuthenticationError, AuthorizationError, NoPermissionError)
# What is said to a script comes with its code word only where redis-py has no class for it.
_PASSING = ("BUSY ", "LOADING", "MISCONF", "NOREPLICAS", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "ERR max n")
_MOVED_AWAY = ("READONLY", "UNBLOCKED")


class Verdict(Enum):
    """What to do about an error."""

    RETRY = auto()
    """It may pass: try again with backoff."""
    RECONNECT = auto()
    """This server will not serve us any more: drop the connections, then try again."""
    LOAD = auto()
    """The server does not know the script: load it, then try again."""
    REFUSE = auto()
    """Trying again cannot mend it."""


def verdict(error: BaseException) -> Verdict:
    """Sort one error."""
    error = _inner(error)
    for kinds, answer in _BY_KIND:
        if isinstance(error, kinds):
            return answer
    words = str(error)
    if words.startswith(_MOVED_AWAY):
        return Verdict.RECONNECT
    return Verdict.RETRY if words.startswith(_PASSING) else Verdict.REFUSE


# The first that fits: some of these are subclasses of later ones.
_BY_KIND: tuple[tuple[tuple[type[BaseException], ...], Verdict], ...] = (
    ((NoScriptError,), Verdict.LOAD),
    ((*_REFUSED, OutOfMemoryError), Verdict.REFUSE),
    ((ReadOnlyError,), Verdict.RECONNECT),  # demoted: the address may lead to another server by now
    ((ClusterDownError, TryAgainError), Verdict.RETRY),
    ((RedisConnectionError, RedisTimeoutError, MaxConnectionsError, OSError, TimeoutError), Verdict.RETRY),
)


def _inner(error: BaseException) -> BaseException:
    """What a connection error is about: over a unix socket redis-py wraps a refused handshake in one."""
    cause = error.__cause__
    refused = isinstance(cause, (*_REFUSED, ResponseError))
    return cause if cause is not None and refused and isinstance(error, RedisConnectionError) else error


def translated(error: BaseException, where: str) -> MicrobatchError:
    """The error that a user sees. `where` is the redacted URL."""
    error = _inner(error)
    words = str(error)
    if isinstance(error, _REFUSED) or words.startswith(("WRONGPASS", "NOAUTH", "NOPERM")):
        return AuthenticationFailed(f"Redis at {where} refused: {words}")
    if isinstance(error, OutOfMemoryError) or "OOM command not allowed" in words:
        return ServerFull(f"Redis at {where} is out of memory (maxmemory); nothing was accepted")
    if isinstance(error, ResponseError) and verdict(error) is Verdict.REFUSE:
        return ServerError(f"Redis at {where} answered: {words}")
    return ConnectionFailed(f"Redis at {where} did not answer: {words or type(error).__name__}")
