"""A lease: one user's hold on a running server.

Rule: while the lease lasts the server runs. Ending the last one waits, with a bound, until the server is
gone, so that a program that has ended leaves nothing behind; where the guardian was killed, the last user
sweeps in its place.

It never stops a server: it lets go, and the guardian stops it.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from microbatch.common.embedded import guardian
from microbatch.common.embedded.locks import FileLock, Others

if TYPE_CHECKING:
    from pathlib import Path

    from microbatch.common.embedded.records import Running

END_TIMEOUT_S = 5.0

_log = logging.getLogger(__name__)


class Lease:
    """One user's hold on one server."""

    def __init__(self, directory: Path, users: FileLock, running: Running, *, private: bool) -> None:
        self.directory = directory
        self.running = running
        self._users = users
        self._private = private

    def is_alive(self) -> bool:
        """Whether the server answers."""
        return guardian.answers(self.running.socket)

    def end(self) -> None:
        """Let go; after the last user's call the server is gone, within `END_TIMEOUT_S`."""
        deadline = time.monotonic() + END_TIMEOUT_S
        sharing = 0
        try:
            while time.monotonic() < deadline:
                if self._users.release_and_look() is Others.SHARING:
                    sharing += 1
                    # Twice, for one look may meet the look of another user that is leaving as well.
                    if sharing > 1:
                        return
                else:
                    sharing = 0
                    if self._is_over():
                        return
                time.sleep(guardian.POLL_S)
        finally:
            self._users.close()
        _log.warning(
            "the embedded server of %s (process %d) has not ended in %g s",
            self.directory,
            self.running.pid,
            END_TIMEOUT_S,
        )

    def _is_over(self) -> bool:
        """Whether neither guardian nor server is left; what they left is swept."""
        if not (self.directory / guardian.SERVER_LOCK).exists():
            return True  # a private directory, removed by its guardian
        try:
            server_lock = FileLock(self.directory / guardian.SERVER_LOCK)
        except FileNotFoundError:
            return True
        with server_lock:
            if not server_lock.exclusive(0):
                return False
            guardian.sweep(self.directory, self.running.socket, private=self._private)
        return True
