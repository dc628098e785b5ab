"""A real Valkey or Redis server that lives as long as its users, for development and tests.

It owns the processes and files of `embedded://` and `embedded:///path/to/data`. The file list is the way
in: `url` (what the URLs mean), `opening` (the same from an event loop), `server` (the user's object),
`launch` (attach or start), `lease` (hold and let go), `locks`, `records`, `binary` (find the program),
`guardian` (the process that owns the server).

It never serves production: that is a Redis or Valkey of your own, by URL.
"""

from __future__ import annotations

from microbatch.common.embedded.opening import open_url
from microbatch.common.embedded.server import EmbeddedServer
from microbatch.common.embedded.url import resolve_url

__all__ = ["EmbeddedServer", "open_url", "resolve_url"]
