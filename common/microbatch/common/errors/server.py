"""What is wrong with Redis: it does not answer, refuses, is full, or holds what it should not hold."""

from __future__ import annotations

from microbatch.common.errors.root import MicrobatchError
from microbatch.common.errors.submit import SubmitError

__all__ = [
    "AuthenticationFailed",
    "ConnectionFailed",
    "ProtocolError",
    "SealError",
    "ServerError",
    "ServerFull",
]


class ConnectionFailed(MicrobatchError, ConnectionError):
    """Redis could not be reached, or did not answer in time, retries included.

    Attributes:
        server: Its URL without a password; empty where that is not known.
    """

    server: str = ""

    def __init__(self, sentence: str, server: str = "") -> None:
        super().__init__(sentence)
        self.server = server


class AuthenticationFailed(ConnectionFailed):
    """Redis refused the password, or the user lacks a right. Retrying does not help."""


class ServerError(MicrobatchError):
    """Redis answered with an error that retrying cannot mend.

    Attributes:
        advice: What mends it, where that is known.
    """

    advice: str = ""


class ServerFull(ServerError, SubmitError):
    """Redis is at its `maxmemory`: new jobs are refused; jobs that it holds are still processed."""


class ProtocolError(MicrobatchError):
    """Bytes in Redis that no version of microbatch wrote."""


class SealError(ProtocolError):
    """A value that is not signed or encrypted by a known key for its very job, although it must be."""
