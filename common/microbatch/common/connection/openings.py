"""Openings: how a line to a server is made and connected.

Rule: connecting, authenticating and TLS are redis-py's, with every time-out set here. A line that leaves
`connect` leads where it should: at a site with sentinels every single one is looked up and verified, so that
a primary that was lost, and came back as something else, is never written to. Nothing here repeats anything.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol

import hiredis
from redis.asyncio import connection as aioconnection
from redis.exceptions import ConnectionError as LostConnection

from microbatch.common.connection.endpoint import refused_url
from microbatch.common.redis_errors import FOREIGN_ERRORS
from microbatch.common.topology.inquiry import check_role

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from redis.asyncio.connection import AbstractConnection

    from microbatch.common.connection.asker import Asker
    from microbatch.common.connection.endpoint import Endpoint
    from microbatch.common.topology.sentinels import Sentinels
    from microbatch.common.topology.site import Address

__all__ = ["Opening", "ToPrimary", "ToServer", "line_options"]


class _Packing(aioconnection.AbstractConnection):
    """Encode commands in C: redis-py's asyncio connections do it in Python, per argument."""

    def pack_command(self, *args: Any) -> list[bytes]:
        return [hiredis.pack_command(args)]

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:  # noqa: FBT001, FBT002 - as redis-py's
        try:
            await super().send_packed_command(command, check_health)
        except RuntimeError as error:
            # What uvloop raises where asyncio has an OSError: the line was reset a moment ago.
            raise LostConnection(f"the connection is closed: {error}") from error


class _Tcp(_Packing, aioconnection.Connection):
    pass


class _Tls(_Packing, aioconnection.SSLConnection):
    pass


class _Unix(_Packing, aioconnection.UnixDomainSocketConnection):
    pass


_PACKING: dict[type, type] = {
    aioconnection.Connection: _Tcp,
    aioconnection.SSLConnection: _Tls,
    aioconnection.UnixDomainSocketConnection: _Unix,
}


class Opening(Protocol):
    """Makes and connects lines."""

    def line(self) -> AbstractConnection:
        """A line that is not connected yet."""

    async def connect(self, line: AbstractConnection) -> None:
        """Connect it; on any failure, cancellation too, it is closed."""


def line_options(url: str, endpoint: Endpoint) -> dict[str, Any]:
    """What redis-py's asynchronous connections are made with.

    Raises:
        SettingsError: redis-py cannot use the URL.
    """
    try:
        options: dict[str, Any] = dict(aioconnection.parse_url(url)) | endpoint.line_options()
    except (ValueError, AttributeError):
        # Not chained: redis-py's sentence may quote the password.
        raise refused_url(endpoint) from None
    # The caller bounds the time. redis-py's own bound (5 s where none is given) sends through `wait_for`,
    # which on some Pythons loses a cancellation.
    options["socket_timeout"] = None
    kind = options.setdefault("connection_class", aioconnection.Connection)
    if kind is aioconnection.UnixDomainSocketConnection:
        del options["socket_keepalive"]
    options["connection_class"] = _PACKING[kind]
    return options


class ToServer:
    """Opens lines to one server.

    Args:
        options: As from `line_options`.
        address: Where it is; None: as the options say.
    """

    def __init__(self, options: Mapping[str, Any], address: Address | None = None) -> None:
        self._options = {name: value for name, value in options.items() if name != "connection_class"}
        if address is not None:
            self._options |= {"host": address.host, "port": address.port}
        self._kind: type[AbstractConnection] = options["connection_class"]

    def line(self) -> AbstractConnection:
        """A line that is not connected yet."""
        return self._kind(**self._options)

    async def connect(self, line: AbstractConnection) -> None:
        """Connect it."""
        try:
            await line.connect()
        except BaseException:
            # Over a unix socket redis-py leaves a line open whose handshake failed: in the wrong database.
            await line.disconnect(nowait=True)
            raise


class ToPrimary(ToServer):
    """Opens lines to the primary that the sentinels name, and only to one that says so itself.

    Args:
        options: As from `line_options`.
        sentinels: Who knows it.
        asker: Asks them.
        on_connect: Called before each look-up: from then on news of another primary matter.
    """

    def __init__(
        self, options: Mapping[str, Any], sentinels: Sentinels, asker: Asker, on_connect: Callable[[], None]
    ) -> None:
        super().__init__(options)
        self._sentinels = sentinels
        self._asker = asker
        self._on_connect = on_connect

    async def connect(self, line: Any) -> None:
        """Find the primary, connect, verify."""
        self._on_connect()
        line.host, line.port = await self._asker.ask(self._sentinels.primary_inquiry())
        try:
            await super().connect(line)
            await line.send_command("ROLE", check_health=False)
            check_role(await line.read_response(timeout=math.inf))
        except BaseException as error:
            await line.disconnect(nowait=True)
            if isinstance(error, FOREIGN_ERRORS):
                self._sentinels.distrust()
            raise
