"""Redis URLs: which ones can be used, and how they are shown.

Rule: a URL may hold a password, so whatever shows one shows `redact_url` of it. Nothing here connects.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import parse_qsl

__all__ = ["MANY_SERVERS", "REDIS_URLS", "check_redis_url", "redact_url"]

REDIS_URLS: Final = (
    "redis:// or rediss:// with host, port and database, unix:///path, embedded:// or embedded:///path, "
    "redis+sentinel://host:port,host:port/service/database or redis+cluster://host:port,host:port"
)
_HOST: Final = r"(?:\[[^\]/?#@,]+\]|[^\[\]:/?#@,]+)"
_URL: Final = re.compile(
    r"rediss?://([^/?#]*@)?(\[[^\]/?#@]+\]|[^\[\]:/?#@,]*)(:(?P<port>[0-9]{1,5}))?(/[0-9]*/?)?(\?[^#]*)?"
    r"|unix://([^/?#]*@)?/[^?#]+(\?[^#]*)?|embedded://(/[^?#]*)?"
)
MANY_SERVERS: Final = re.compile(
    r"(?P<scheme>rediss?)\+(?P<kind>sentinel|cluster)://((?P<who>[^/?#]*)@)?"
    rf"(?P<seeds>{_HOST}(?::[0-9]{{1,5}})?(?:,{_HOST}(?::[0-9]{{1,5}})?)*)"
    r"(?P<path>/[^?#]*)?(\?(?P<query>[^#]*))?"
)
"""The parts of a URL that names several servers; `check_redis_url` says whether they fit together."""
_SENTINEL_PATH: Final = re.compile(r"/[^/]+(/[0-9]*/?)?")
_CLUSTER_PATH: Final = re.compile(r"/?0?/?")
_PORT: Final = re.compile(r":([0-9]+)(?=,|$)")

_PARAMETERS: Final = {
    "single": re.compile(r"db|ssl_\w+"),
    "sentinel": re.compile(r"db|ssl_\w+|sentinel_username|sentinel_password"),
    "cluster": re.compile(r"ssl_\w+"),
}
_MAY_HAVE: Final = {
    "single": "db and ssl_...",
    "sentinel": "db, ssl_..., sentinel_username and sentinel_password",
    "cluster": "ssl_...",
}
_SECRET_PARAMETER: Final = re.compile(r"([?&][^=&]*(?:pass|secret|token)[^=&]*=)[^&]*", re.IGNORECASE)
_ADDRESS: Final = re.compile(r"(?:\[[^\]]*\]|[^:\[\]]*)(?::\d{0,5})?")
# All with a port or all without: a password in the wrong place seldom looks like that.
_ADDRESSES: Final = re.compile(rf"{_HOST}:\d{{1,5}}(?:,{_HOST}:\d{{1,5}})*|{_HOST}(?:,{_HOST})*")


def check_redis_url(url: str) -> str:
    """`url`, stripped (a secret made from a file ends in a newline).

    Raises:
        ValueError: It is nothing that microbatch can connect to; the sentence says what it must be.
    """
    url = url.strip()
    many = MANY_SERVERS.fullmatch(url)
    kind = many["kind"] if many else "single"
    if many:
        _check_many(many)
    else:
        match = _URL.fullmatch(url)
        if not match or int(match["port"] or 6379) not in range(1, 1 << 16):
            raise ValueError(REDIS_URLS)
    _, _, query = url.partition("?")
    names = [name for name, _ in parse_qsl(query, keep_blank_values=True)]
    if not all(_PARAMETERS[kind].fullmatch(name) for name in names):
        # Others would reach redis-py's constructor, and change what the connections rely on.
        raise ValueError(f"{REDIS_URLS}; its parameters may be {_MAY_HAVE[kind]}")
    return url


def _check_many(match: re.Match[str]) -> None:
    if any(int(port) not in range(1, 1 << 16) for port in _PORT.findall(match["seeds"])):
        raise ValueError(f"{REDIS_URLS}; ports are 1 to 65,535")
    path = match["path"] or ""
    if match["kind"] == "sentinel" and not _SENTINEL_PATH.fullmatch(path):
        raise ValueError(
            "redis+sentinel://host:port,host:port/service/database: the sentinels, then the name of the "
            "service that they watch, then the number of the database, which may be left out"
        )
    if match["kind"] == "cluster" and not _CLUSTER_PATH.fullmatch(path):
        raise ValueError(
            "redis+cluster://host:port,host:port without a path: a cluster has no database but 0"
        )


def redact_url(url: str) -> str:
    """`url` without its secrets, for messages and logs.

    It rather hides too much: everything between the user name and the last `@` (people forget to escape `/`
    and `@` in passwords), and an address that is not plainly `host:port` (or, where several servers may be
    named, a list of those).
    """
    url = _SECRET_PARAMETER.sub(r"\1***", url)
    head, separator, rest = url.partition("://")
    scheme = head + separator if re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*", head) and separator else ""
    credentials, at, address = (rest if scheme else url).rpartition("@")
    authority = re.split(r"[/?#]", address, maxsplit=1)[0]
    plain = _ADDRESSES if head.endswith(("+sentinel", "+cluster")) else _ADDRESS
    if not plain.fullmatch(authority) or not (scheme or at or ":" in authority):
        address = "***"
    user, colon, _ = credentials.partition(":")
    return f"{scheme}{f'{user}:***@' if colon else '***@' if at else ''}{address}"
