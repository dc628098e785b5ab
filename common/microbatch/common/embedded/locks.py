"""File locks of the user's side.

Rule: a lock belongs to the process that took it. A forked child inherits the file description and would
keep its parent's lock, and with it the server, alive after the parent's death; so a child closes its
copies before any other Python code runs there, which leaves the parent's locks as they are.

It never deletes a lock file: whoever opens the next one would lock another file.
"""

from __future__ import annotations

import fcntl
import os
from enum import Enum
from typing import TYPE_CHECKING, Self

from microbatch.common.embedded.guardian import acquire, open_lock

if TYPE_CHECKING:
    from pathlib import Path

_CLOSED = -1


class Others(Enum):
    """Who else holds a lock."""

    NONE = "none"
    SHARING = "sharing"
    EXCLUSIVE = "exclusive"


class FileLock:
    """A flock on a file, by a description of its own: two of them exclude each other in one process too."""

    _open: set[FileLock] = set()  # noqa: RUF012 - the class's own register, for the fork

    def __init__(self, path: Path) -> None:
        self._fd = open_lock(path)
        self._open.add(self)

    def exclusive(self, timeout_s: float) -> bool:
        """Take it alone; False where others did not let go within `timeout_s`."""
        return acquire(self._fd, fcntl.LOCK_EX, timeout_s)

    def shared(self, timeout_s: float) -> bool:
        """Take it together with others that share; False as in `exclusive`."""
        return acquire(self._fd, fcntl.LOCK_SH, timeout_s)

    def release_and_look(self) -> Others:
        """Let go, and see who else is there."""
        try:
            if self.exclusive(0):
                return Others.NONE
            return Others.SHARING if self.shared(0) else Others.EXCLUSIVE
        finally:
            fcntl.flock(self._fd, fcntl.LOCK_UN)

    def close(self) -> None:
        """Let go for good. Harmless when repeated, and in a forked child."""
        if self._fd == _CLOSED:
            return
        # Closing alone would leave the lock with any copy that a fork has made meanwhile.
        fcntl.flock(self._fd, fcntl.LOCK_UN)
        self.close_copy()

    def close_copy(self) -> None:
        """Close this process's copy and leave the lock to the others."""
        self._open.discard(self)
        fd, self._fd = self._fd, _CLOSED
        os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @classmethod
    def after_fork(cls) -> None:
        """In the child: close the copies, unlocking nothing."""
        for lock in list(cls._open):
            lock.close_copy()


os.register_at_fork(after_in_child=FileLock.after_fork)
