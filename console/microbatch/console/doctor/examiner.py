"""The examiner: asks Redis one thing at a time, and takes a refusal for an answer.

Rule: a command that the user may not send, or that the server does not know, is a fact like any other; only a
server that does not answer is an error. It sends nothing that changes anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from microbatch.common.errors import AuthenticationFailed, ProtocolError, ServerError

if TYPE_CHECKING:
    from microbatch.common.connection import Connection
    from microbatch.common.scripts import Call

__all__ = ["Examiner", "Refusal", "pairs", "text"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Refusal:
    """What the server said instead of an answer."""

    words: str


class Examiner:
    """Asks over one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def ask(self, *command: str | int, at: str | None = None) -> Any:
        """The reply to a command, or a `Refusal`.

        Args:
            command: What to send.
            at: In a cluster, ask the node that has this key.

        Raises:
            ConnectionFailed: No answer in time.
        """
        try:
            return await self._connection.execute(*command, at=at)
        except (AuthenticationFailed, ServerError) as error:
            return Refusal(_words(error))

    async def run(self, call: Call[T]) -> T | Refusal:
        """The answer of a script, or a `Refusal`; raises as `ask` does."""
        try:
            return await self._connection.run(call)
        except (AuthenticationFailed, ServerError, ProtocolError) as error:
            return Refusal(_words(error))


def _words(error: Exception) -> str:
    """Redis's own words, which come last."""
    cause = error.__cause__
    return str(cause) if cause is not None else str(error)


def text(value: Any) -> str:
    """A reply's text."""
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


def pairs(reply: Any) -> dict[str, Any]:
    """A flat reply of names and values."""
    return {text(name): value for name, value in zip(reply[::2], reply[1::2], strict=True)}
