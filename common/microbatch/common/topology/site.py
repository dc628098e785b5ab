"""The site: what a URL leads to, one server, sentinels that know one, or a cluster.

Rule: a URL is read once, here; whoever connects gets addresses and a URL that redis-py understands, which
carries credentials, database and TLS. Nothing here connects, and no sentence quotes a URL with its password.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qsl, unquote, urlencode

from microbatch.common.redis_url import MANY_SERVERS

if TYPE_CHECKING:
    import re
    from collections.abc import Mapping

__all__ = ["Address", "Kind", "Site", "read_site"]

SENTINEL_PORT = 26379
SERVER_PORT = 6379
_SENTINEL_PARAMETERS = {"sentinel_username": "username", "sentinel_password": "password"}


class Address(NamedTuple):
    """A server's host and port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Kind(Enum):
    """How the server of a key is found."""

    SINGLE = auto()
    """It is the one that the URL names."""
    SENTINEL = auto()
    """The seeds are sentinels, which know the primary."""
    CLUSTER = auto()
    """The seeds are nodes of a cluster, which know each other."""


@dataclass(frozen=True, slots=True)
class Site:
    """What a URL leads to.

    Attributes:
        kind: How the server of a key is found.
        url: A URL for redis-py: credentials, database and TLS of the Redis servers. Its address counts only
            where `kind` is `SINGLE`.
        seeds: Whom to ask first; empty for one server.
        service: The name under which sentinels know the primary.
        sentinel_options: What redis-py needs besides to speak with a sentinel: its own credentials.
    """

    kind: Kind
    url: str
    seeds: tuple[Address, ...] = ()
    service: str = ""
    sentinel_options: Mapping[str, str] = field(default_factory=dict)


def read_site(url: str) -> Site:
    """Read a URL that `check_redis_url` accepts; any other is left to redis-py to refuse."""
    match = MANY_SERVERS.fullmatch(url)
    if match is None:
        return Site(Kind.SINGLE, url)
    who = f"{match['who']}@" if match["who"] else ""
    parameters = parse_qsl(match["query"] or "", keep_blank_values=True)
    servers = [(name, value) for name, value in parameters if name not in _SENTINEL_PARAMETERS]
    if match["kind"] == "cluster":
        seeds = _addresses(match, SERVER_PORT)
        return Site(Kind.CLUSTER, f"{match['scheme']}://{who}cluster{_query(servers)}", seeds)
    _, service, database, *_ = f"{match['path']}//".split("/")
    return Site(
        Kind.SENTINEL,
        f"{match['scheme']}://{who}primary/{database}{_query(servers)}",
        _addresses(match, SENTINEL_PORT),
        unquote(service),
        {_SENTINEL_PARAMETERS[name]: value for name, value in parameters if name in _SENTINEL_PARAMETERS},
    )


def _query(parameters: list[tuple[str, str]]) -> str:
    return f"?{urlencode(parameters)}" if parameters else ""


def _addresses(match: re.Match[str], default_port: int) -> tuple[Address, ...]:
    found = []
    for seed in match["seeds"].split(","):
        host, colon, port = seed.rpartition(":")
        if not colon or seed.endswith("]"):
            host, port = seed, str(default_port)
        found.append(Address(unquote(host.strip("[]")), int(port)))
    return tuple(found)
