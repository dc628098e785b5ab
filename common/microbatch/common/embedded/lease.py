"""A lease: one user's hold on a running server.

Rule: while the lease lasts the server runs. Ending the last one waits, with a bound, until the server is
gone, so that a program that has ended leaves nothing behind; where the guardian was killed, the last user
sweeps in its place.

It never stops a server: it lets go, and the guardian stops it.
"""

from __future__ import annotations

import json
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from microbatch.common.embedded import guardian
from microbatch.common.embedded.locks import FileLock, Others

if TYPE_CHECKING:
    from pathlib import Path

END_TIMEOUT_S = 5.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A server that runs, as its guardian described it."""

    pid: int
    guardian_pid: int
    socket: str
    port: int | None
    program: str
    version: str

    @classmethod
    def parse(cls, record: bytes) -> Self | None:
        """Read a guardian's record; None where it is something else."""
        try:
            running = cls(**json.loads(record))
        except (ValueError, TypeError):  # not JSON; other fields, as another version would write
            return None
        return running

    @classmethod
    def read(cls, directory: Path) -> Self | None:
        """Read the record of a directory's server; None where there is none."""
        try:
            record = (directory / guardian.RECORD).read_bytes()
        except FileNotFoundError:
            return None
        return cls.parse(record)


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
