"""Redis URLs: which ones can be used, and how they are shown.

Rule: a URL may hold a password, so whatever shows one shows `redact_url` of it. Nothing here connects.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import parse_qsl

__all__ = ["REDIS_URLS", "check_redis_url", "redact_url"]

REDIS_URLS: Final = (
    "redis:// or rediss:// with host, port and database, unix:///path, embedded:// or embedded:///path"
)
_URL: Final = re.compile(
    r"rediss?://([^/?#]*@)?(\[[^\]/?#@]+\]|[^\[\]:/?#@]*)(:(?P<port>[0-9]{1,5}))?(/[0-9]*/?)?(\?[^#]*)?"
    r"|unix://([^/?#]*@)?/[^?#]+(\?[^#]*)?|embedded://(/[^?#]*)?"
)
_PARAMETER: Final = re.compile(r"db|ssl_\w+")
_SECRET_PARAMETER: Final = re.compile(r"([?&][^=&]*(?:pass|secret|token)[^=&]*=)[^&]*", re.IGNORECASE)
_ADDRESS: Final = re.compile(r"(?:\[[^\]]*\]|[^:\[\]]*)(?::\d{0,5})?")


def check_redis_url(url: str) -> str:
    """`url`, stripped (a secret made from a file ends in a newline).

    Raises:
        ValueError: It is nothing that microbatch can connect to.
    """
    match = _URL.fullmatch(url.strip())
    if not match or int(match["port"] or 6379) not in range(1, 1 << 16):
        raise ValueError(f"not {REDIS_URLS}")
    _, _, query = match[0].partition("?")
    foreign = [name for name, _ in parse_qsl(query, keep_blank_values=True) if not _PARAMETER.fullmatch(name)]
    if foreign:  # others would reach redis-py's constructor, and change what `connection.py` relies on
        raise ValueError(f"not a URL with the parameter {foreign[0]!r}; it may have db and ssl_...")
    return match[0]


def redact_url(url: str) -> str:
    """`url` without its secrets, for messages and logs.

    It rather hides too much: everything between the user name and the last `@` (people forget to escape `/`
    and `@` in passwords), and an address that is not plainly `host:port`.
    """
    url = _SECRET_PARAMETER.sub(r"\1***", url)
    head, separator, rest = url.partition("://")
    scheme = head + separator if re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*", head) and separator else ""
    credentials, at, address = (rest if scheme else url).rpartition("@")
    authority = re.split(r"[/?#]", address, maxsplit=1)[0]
    if not _ADDRESS.fullmatch(authority) or not (scheme or at or ":" in authority):
        address = "***"
    user, colon, _ = credentials.partition(":")
    return f"{scheme}{f'{user}:***@' if colon else '***@' if at else ''}{address}"
