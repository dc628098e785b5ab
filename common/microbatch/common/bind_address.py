"""An address to listen at, as text: `9464`, `0.0.0.0:9464`, `[::1]:9464`."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["BindAddress", "check_bind_address", "read_bind_address"]

LOOPBACK = "127.0.0.1"
_REACHED_AT = {"0.0.0.0": LOOPBACK, "::": "::1"}  # noqa: S104 - the very opposite of binding
_LAST_PORT = 65_535
_FORM = "a port, or host:port; 0.0.0.0:9464 listens on every interface"


class BindAddress(NamedTuple):
    """Where to listen; port 0 is any that is free."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def within_reach(self) -> BindAddress:
        """Where this machine reaches it: a wildcard is no place to connect to."""
        return BindAddress(_REACHED_AT.get(self.host, self.host), self.port)


def read_bind_address(text: str) -> BindAddress:
    """Read an address; without a host it is this machine's own alone.

    Raises:
        ValueError: It is none.
    """
    host, colon, port = text.strip().rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host or (colon and not host):
        raise ValueError(_FORM)
    if not (port.isascii() and port.isdigit()) or int(port) > _LAST_PORT:
        raise ValueError(_FORM)
    return BindAddress(host or LOOPBACK, int(port))


def check_bind_address(text: str) -> str:
    """The same text, if it is an address.

    Raises:
        ValueError: It is none.
    """
    read_bind_address(text)
    return text
