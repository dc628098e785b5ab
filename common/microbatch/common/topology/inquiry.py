"""Inquiries: conversations with servers about where things live, without the I/O.

Rule: an inquiry is a generator that yields questions and is sent answers: a reply, or the exception that came
instead. So the asynchronous and the blocking connection ask the same way, each over short-lived lines of its
own, and every course of a conversation can be tested without a server.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, NamedTuple, TypeVar

from microbatch.common.redis_errors import NotPrimary
from microbatch.common.topology.site import Address

__all__ = ["Inquiry", "Question", "address_of", "check_role"]

T = TypeVar("T")


class Question(NamedTuple):
    """One command for one server."""

    to: Address
    command: tuple[str, ...]


Inquiry = Generator[Question, Any, T]
"""Yields questions, is sent answers, returns what it found out."""


def check_role(reply: Any) -> None:
    """Judge a server by its answer to ROLE.

    Raises:
        NotPrimary: It is a replica, or a sentinel.
    """
    role = reply[0] if isinstance(reply, list) and reply else reply
    if role != b"master":
        said = role.decode("utf-8", "replace") if isinstance(role, bytes) else repr(role)
        raise NotPrimary(f"the server says that it is no primary but {said!r}")


def address_of(host: Any, port: Any) -> Address | None:
    """An address in a reply; None where it is not one."""
    try:
        return Address(host.decode(), int(port))
    except (AttributeError, TypeError, ValueError):
        return None
