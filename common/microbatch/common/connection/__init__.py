"""Connections to Redis: calls that are repeated until they are answered, wherever their server is by then.

`connection` runs calls for an event loop and `blocking` for a thread; `errand` decides for both where the
next attempt goes, `endpoint` says how patient they are. `lines` and `blocking_lines` lend redis-py's
connections, which `openings` and `asker` make; `primary_watch` listens for another primary, `subscription`
mends the connection that listens to channels. `patience` waits for a server that is not there yet.

What redis-py raises is translated in `redis_errors.py`; where things live is known by `topology/`.
"""

from microbatch.common.connection.blocking import BlockingConnection
from microbatch.common.connection.connection import Connection
from microbatch.common.connection.endpoint import Endpoint, backoff_s

__all__ = ["BlockingConnection", "Connection", "Endpoint", "backoff_s"]
