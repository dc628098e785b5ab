"""Embedded URLs: what they mean, and the one private server that a process shares.

Rule: every call that returns a server returns a user of its own, to be stopped by whoever asked; clients
that name `embedded://` in one process are users of one server.

It never reads another scheme: those URLs belong to the Redis client.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from urllib.parse import unquote, urlsplit

from microbatch.common.embedded.server import EmbeddedServer
from microbatch.common.errors import EmbeddedServerError

_SCHEME = "embedded"


def resolve_url(url: str) -> tuple[str, EmbeddedServer | None]:
    """Turn an embedded URL into a URL that a Redis client understands; starts the server. Blocks.

    Args:
        url: `embedded://` for this process's private server, `embedded:///path/to/data` for the server of
            that directory, or any other URL.

    Returns:
        The URL to connect to, and the started server, which the caller must `stop()` after its last
        connection; None for any other URL, which comes back unchanged.

    Raises:
        EmbeddedServerError: A malformed embedded URL, or the server cannot be started.
    """
    if not url.lower().startswith(f"{_SCHEME}:"):
        return url, None
    directory = _directory_of(url)
    server = _ProcessWide.share() if directory is None else EmbeddedServer(directory).start()
    return server.url, server


def _directory_of(url: str) -> Path | None:
    malformed = EmbeddedServerError(
        f"{url!r} is not an embedded URL: use embedded:// for a private server, or embedded:///path/to/data "
        "(three slashes, an absolute path, no host, no query) for one that keeps its data"
    )
    try:
        parts = urlsplit(url)
    except ValueError:  # such as an unclosed bracket
        raise malformed from None
    path = unquote(parts.path)
    # By their characters: urlsplit cannot tell `embedded:`, `embedded:/x` and an empty query from the rest.
    if parts.netloc or not url[len(_SCHEME) :].startswith("://") or any(char in url for char in "?#\0"):
        raise malformed
    if not path:
        return None
    if "\0" in path or not path.strip("/"):
        raise malformed
    return Path(path)


class _ProcessWide:
    """The private server of this process. Who shares it is counted by its lock, not here."""

    _mutex = threading.Lock()
    _latest: EmbeddedServer | None = None

    @classmethod
    def share(cls) -> EmbeddedServer:
        with cls._mutex:
            server = EmbeddedServer() if cls._latest is None else cls._latest.twin()
            cls._latest = server.start()
            return server

    @classmethod
    def after_fork(cls) -> None:
        cls._mutex = threading.Lock()  # another thread of the parent may have held it
        cls._latest = None  # the child's private server is its own


os.register_at_fork(after_in_child=_ProcessWide.after_fork)
