"""Blocking lines to one server, for threads: the small twins of `Lines`, of its openings and of the asker.

Rule: as there, a line is used for one conversation at a time, and one that failed is closed before it is lent
again. Decisions are not made twice: they live in `errand.py` and in `topology`.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any, TypeVar

from redis import connection as blocking

from microbatch.common.connection.endpoint import refused_url
from microbatch.common.redis_errors import FOREIGN_ERRORS
from microbatch.common.topology.inquiry import check_role

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from microbatch.common.connection.endpoint import Endpoint
    from microbatch.common.topology.inquiry import Inquiry
    from microbatch.common.topology.sentinels import Sentinels
    from microbatch.common.topology.site import Address

__all__ = ["BlockingLines", "PrimaryOpening", "ask", "blocking_options", "open_server"]

VERIFY_EVERY_S = 1.0
T = TypeVar("T")
Line = Any  # one of redis-py's blocking connections; their common base is not what it types


def blocking_options(url: str, endpoint: Endpoint) -> dict[str, Any]:
    """What redis-py's blocking connections are made with; errors as from `line_options`."""
    try:
        options: dict[str, Any] = dict(blocking.parse_url(url)) | endpoint.line_options()
    except (ValueError, AttributeError):
        raise refused_url(endpoint) from None
    options["socket_timeout"] = endpoint.command_timeout_s / 2
    if options.setdefault("connection_class", blocking.Connection) is blocking.UnixDomainSocketConnection:
        del options["socket_keepalive"]
    return options


def open_server(options: Mapping[str, Any], address: Address | None = None) -> Line:
    """A connected line to one server; None: to the one that the options name."""
    own = {name: value for name, value in options.items() if name != "connection_class"}
    if address is not None:
        own |= {"host": address.host, "port": address.port}
    line: Line = options["connection_class"](**own)
    line.connect()
    return line


class PrimaryOpening:
    """Opens lines to the primary that the sentinels name, and that says so itself.

    Args:
        options: As from `blocking_options`, for the primary.
        asking: The same, for the sentinels.
        sentinels: Who knows it.
    """

    def __init__(self, options: Mapping[str, Any], asking: Mapping[str, Any], sentinels: Sentinels) -> None:
        self._options = options
        self._asking = asking
        self._sentinels = sentinels
        self._verified_s = 0.0

    def __call__(self) -> Line:
        """A connected line; errors are redis-py's."""
        primary = ask(self._sentinels.primary_inquiry(), self._asking)
        self._verified_s = time.monotonic()
        try:
            line = open_server(self._options, primary)
            try:
                line.send_command("ROLE")
                check_role(line.read_response())
            except BaseException:
                line.disconnect()
                raise
        except FOREIGN_ERRORS:
            self._sentinels.distrust()
            raise
        return line

    def is_another(self) -> bool:
        """Whether the sentinels name another primary than the last time; looks at most once a second.

        A planned failover leaves the old one writable for seconds, and what it is told then is lost.
        """
        if time.monotonic() - self._verified_s < VERIFY_EVERY_S:
            return False
        known = self._sentinels.primary
        with contextlib.suppress(*FOREIGN_ERRORS):  # without sentinels things stay as they are
            ask(self._sentinels.primary_inquiry(), self._asking)
        self._verified_s = time.monotonic()
        return self._sentinels.primary != known


def ask(inquiry: Inquiry[T], options: Mapping[str, Any]) -> T:
    """Hold a conversation to its end; returns what was found out, and raises what the inquiry raises."""
    answer: Any = None
    while True:
        try:
            question = inquiry.send(answer)
        except StopIteration as end:
            found: T = end.value
            return found
        try:
            line = open_server(options, question.to)
            try:
                line.send_command(*question.command)
                answer = line.read_response()
            finally:
                line.disconnect()
        except FOREIGN_ERRORS as error:
            answer = error


class BlockingLines:
    """Connections to one server, one for each thread that calls at the same time.

    Args:
        open_line: Makes a connected one.
    """

    def __init__(self, open_line: Callable[[], Line]) -> None:
        self._open_line = open_line
        self._free: list[Line] = []
        self._closed = False

    def converse(self, *commands: tuple[Any, ...]) -> Any:
        """Send commands over one line, one after the other; returns the last reply.

        Raises:
            redis.exceptions.RedisError: As redis-py raises it; a reply that is an error too.
            OSError: The network.
        """
        try:
            line = self._free.pop()  # another thread may be quicker: then it is empty
        except IndexError:
            line = self._open_line()
        try:
            for command in commands:
                line.send_command(*command, check_health=False)
                reply = line.read_response()
            return reply
        finally:
            if line.is_connected and not self._closed:
                self._free.append(line)
            else:
                line.disconnect()

    def drop_free(self) -> None:
        """Close the lines that nobody uses."""
        while self._free:
            self._free.pop().disconnect()

    def close(self) -> None:
        """Close every line, those in use when they are given back."""
        self._closed = True
        self.drop_free()
