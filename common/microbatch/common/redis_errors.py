"""What redis-py raises, sorted: the one place that knows its error classes and Redis's error words.

Rule: `verdict` says what a connection should do about an error, `translated` what a user sees in the end;
redis-py's own error stays its `__cause__`. Nothing here does I/O.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import NamedTuple

from redis.exceptions import (
    AskError,
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    MaxConnectionsError,
    MovedError,
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

__all__ = [
    "FOREIGN_ERRORS",
    "NotPrimary",
    "Redirection",
    "Unanswered",
    "Verdict",
    "is_out_of_memory",
    "may_have_run",
    "redirection",
    "translated",
    "verdict",
]

FOREIGN_ERRORS = (RedisError, OSError, TimeoutError)
"""What a call through redis-py can raise for reasons of the network or the server."""

_REFUSED = (AuthenticationError, AuthorizationError, NoPermissionError)
# What is said to a script comes with its code word only where redis-py has no class for it.
_PASSING = ("BUSY ", "LOADING", "MISCONF", "NOREPLICAS", "CLUSTERDOWN", "TRYAGAIN", "ERR max n")
_CROWDED = "max number of clients"  # a connection error to redis-py; the connections that we have are good
# What a script was refused, which comes without a code: in words of Redis 7.0, and of later servers.
_REFUSED_IN_SCRIPT = ("The user executing the script can't", "ACL failure in script")
_MOVED_AWAY = ("READONLY", "UNBLOCKED", "MASTERDOWN")
_NO_SUCH_DATABASE = "DB index"


class Unanswered(RedisConnectionError):
    """Nobody who was asked where something lives could say it; asking again later may help."""


class NotPrimary(ReadOnlyError):
    """A server that was said to be the primary is none: a failover is under way, or the news is old."""


class Verdict(Enum):
    """What to do about an error."""

    RETRY = auto()
    """It may pass: try again with backoff."""
    RECONNECT = auto()
    """These connections, or this server, will not serve us any more: drop them, look again where the key
    lives, then try again."""
    LOAD = auto()
    """The server does not know the script: load it, then try again."""
    MOVED = auto()
    """A node of a cluster says that another one has the slot: ask that one, now and from now on."""
    ASK = auto()
    """The slot is on its way to another node, and this key is there already: ask that one, this once."""
    REFUSE = auto()
    """Trying again cannot mend it."""


def verdict(error: BaseException) -> Verdict:
    """Sort one error."""
    error = _inner(error)
    if str(error).startswith(_CROWDED):
        return Verdict.RETRY
    for kinds, answer in _BY_KIND:
        if isinstance(error, kinds):
            return answer
    words = str(error)
    if words.startswith(_MOVED_AWAY):
        return Verdict.RECONNECT
    return Verdict.RETRY if words.startswith(_PASSING) else Verdict.REFUSE


def may_have_run(error: BaseException) -> bool:
    """Whether a command may have been executed although this came in the place of its reply.

    An error that the server itself answers says that it was not: scripts check before they write.
    """
    error = _inner(error)
    was_refused = isinstance(error, (ResponseError, BusyLoadingError, Unanswered))
    return not was_refused and verdict(error) is Verdict.RECONNECT


def is_out_of_memory(error: object) -> bool:
    """Whether a server refused a write for want of memory."""
    return isinstance(error, OutOfMemoryError) or (
        isinstance(error, ResponseError) and "OOM command not allowed" in str(error)
    )


# The first that fits: some of these are subclasses of later ones.
_BY_KIND: tuple[tuple[tuple[type[BaseException], ...], Verdict], ...] = (
    ((NoScriptError,), Verdict.LOAD),
    ((*_REFUSED, OutOfMemoryError), Verdict.REFUSE),
    ((MovedError,), Verdict.MOVED),
    ((AskError,), Verdict.ASK),
    ((ReadOnlyError, MasterDownError), Verdict.RECONNECT),  # demoted: another server has its place by now
    ((ClusterDownError, TryAgainError, BusyLoadingError, MaxConnectionsError), Verdict.RETRY),
    # After a time-out too: the other free connections of a silent server would each cost as much again.
    ((RedisConnectionError, RedisTimeoutError, OSError, TimeoutError), Verdict.RECONNECT),
)


class Redirection(NamedTuple):
    """Where a node of a cluster sends us; `host` is empty where it does not know its own."""

    slot: int
    host: str
    port: int
    for_good: bool


def redirection(error: BaseException) -> Redirection | None:
    """What a MOVED (for good) or an ASK (this once) says; None for any other error."""
    if not isinstance(error, AskError):
        return None
    return Redirection(error.slot_id, error.host.strip("[]"), error.port, isinstance(error, MovedError))


def _inner(error: BaseException) -> BaseException:
    """What a connection error is about: over a unix socket redis-py wraps a refused handshake in one."""
    cause = error.__cause__
    refused = isinstance(cause, (*_REFUSED, ResponseError))
    return cause if cause is not None and refused and isinstance(error, RedisConnectionError) else error


def translated(error: BaseException, where: str, *, in_doubt: bool = False) -> MicrobatchError:
    """The error that a user sees.

    Args:
        error: What redis-py raised.
        where: The redacted URL.
        in_doubt: Whether an earlier attempt got no answer: then nobody may be told that it was refused.
    """
    error = _inner(error)
    words = str(error)
    if isinstance(error, _REFUSED) or words.startswith(
        ("WRONGPASS", "NOAUTH", "NOPERM", *_REFUSED_IN_SCRIPT)
    ):
        return AuthenticationFailed(f"Redis at {where} refused: {words}", where)
    if is_out_of_memory(error):
        if in_doubt:
            return ConnectionFailed(
                f"Redis at {where} did not answer, and was out of memory (maxmemory) when it was asked again",
                where,
            )
        return ServerFull(f"Redis at {where} is out of memory (maxmemory) and refused this")
    if isinstance(error, MovedError) and "+cluster" not in where:
        return ServerError(f"Redis at {where} is a node of a cluster: use redis+cluster://host:port")
    if isinstance(error, ResponseError) and verdict(error) is Verdict.REFUSE:
        refused = ServerError(f"Redis at {where} answered: {words}")
        if _NO_SUCH_DATABASE in words:
            refused.advice = "the number at the end of the URL has to be below `databases` in redis.conf"
        return refused
    to = redirection(error)
    if to is not None:
        words = f"slot {to.slot} is on its way to {to.host}:{to.port} and does not arrive"
    return ConnectionFailed(f"Redis at {where} did not answer: {words or type(error).__name__}", where)
