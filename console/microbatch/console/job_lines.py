"""Lines of a file or of stdin, as they come.

Rule: what has arrived is handed on at once, and nothing is read far ahead: memory stays bounded by the longest
line, and a slow writer on the other side of a pipe gets its answers early. A thread does the reading, with
`os.read`, so that nobody has to wait for it when the command ends.
"""

from __future__ import annotations

import asyncio
import os
import stat
import sys
import threading
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING

from microbatch.console.exits import UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["JobLines"]

CHUNK_LINES = 256
READ_BYTES = 256 * 1024
_Arrival = list[bytes] | OSError | None


class JobLines:
    """The lines of `path`, or of stdin where it is `-`; blank ones are passed over.

    Attributes:
        size_bytes: How much there is to read; None where nobody knows.

    Raises:
        UsageError: It cannot be opened.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        try:
            self._file = sys.stdin.fileno() if path == "-" else os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except (OSError, ValueError) as error:
            raise _unreadable(path, error) from error
        facts = os.fstat(self._file)
        self.size_bytes = facts.st_size if stat.S_ISREG(facts.st_mode) else None

    async def chunks(self) -> AsyncIterator[list[bytes]]:
        """The lines in order, a few hundred at most at a time.

        Raises:
            UsageError: Reading failed.
        """
        arrivals: asyncio.Queue[_Arrival] = asyncio.Queue(maxsize=2)
        loop = asyncio.get_running_loop()
        threading.Thread(
            target=self._read, args=(arrivals, loop), name="microbatch-lines", daemon=True
        ).start()
        while (arrival := await arrivals.get()) is not None:
            if isinstance(arrival, OSError):
                raise _unreadable(self._path, arrival) from arrival
            for first in range(0, len(arrival), CHUNK_LINES):
                yield arrival[first : first + CHUNK_LINES]

    def _read(self, arrivals: asyncio.Queue[_Arrival], loop: asyncio.AbstractEventLoop) -> None:
        def hand_on(arrival: _Arrival) -> None:
            asyncio.run_coroutine_threadsafe(arrivals.put(arrival), loop).result()

        try:
            begun: list[bytes] = []
            while data := os.read(self._file, READ_BYTES):
                head, *lines = data.split(b"\n")
                begun.append(head)
                if lines:
                    hand_on([b"".join(begun), *lines[:-1]])
                    begun = [lines[-1]]
            hand_on([b"".join(begun)])
            hand_on(None)
        except OSError as error:
            hand_on(error)
        except (CancelledError, RuntimeError):  # the command has ended meanwhile
            return


def _unreadable(path: str, error: Exception) -> UsageError:
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return UsageError(f"cannot read {'stdin' if path == '-' else path}: {reason}")
