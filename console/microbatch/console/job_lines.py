"""Lines of a file or of stdin, as they come.

Rule: what has arrived is handed on at once, and nothing is read far ahead: memory stays bounded by the
longest line, and a slow writer on the other side of a pipe gets its answers early. A thread does the reading,
with `os.read`, so that nobody has to wait for it when the command ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
import sys
import threading
from typing import TYPE_CHECKING

from microbatch.console.exits import UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

__all__ = ["JobLines"]

CHUNK_LINES = 256
READ_BYTES = 256 * 1024
READS_AHEAD = 2
_Arrival = list[bytes] | OSError | None


class JobLines:
    """The lines of `path`, or of stdin where it is `-`.

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
        self._arrivals: asyncio.Queue[_Arrival] = asyncio.Queue()
        self._room = threading.Semaphore(READS_AHEAD)

    async def chunks(self) -> AsyncIterator[list[bytes]]:
        """The lines in order, a few hundred at most at a time.

        Raises:
            UsageError: Reading failed.
        """
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._read, args=(loop,), name="microbatch-lines", daemon=True).start()
        while (arrival := await self._arrivals.get()) is not None:
            if isinstance(arrival, OSError):
                raise _unreadable(self._path, arrival) from arrival
            for first in range(0, len(arrival), CHUNK_LINES):
                yield arrival[first : first + CHUNK_LINES]
            self._room.release()

    def _read(self, loop: asyncio.AbstractEventLoop) -> None:
        def hand_on(arrival: _Arrival) -> None:
            loop.call_soon_threadsafe(self._arrivals.put_nowait, arrival)

        with contextlib.suppress(RuntimeError):  # the loop is closed: the command has ended meanwhile
            try:
                self._read_all(hand_on)
            except OSError as error:
                hand_on(error)
            finally:
                if self._path != "-":
                    os.close(self._file)

    def _read_all(self, hand_on: Callable[[_Arrival], None]) -> None:
        begun: list[bytes] = []  # of a line whose end has not come yet
        while data := os.read(self._file, READ_BYTES):
            head, *lines = data.split(b"\n")
            begun.append(head)
            if lines:
                self._room.acquire()
                hand_on([b"".join(begun), *lines[:-1]])
                begun = [lines[-1]]
        hand_on([b"".join(begun)])
        hand_on(None)


def _unreadable(path: str, error: Exception) -> UsageError:
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return UsageError(f"cannot read {'stdin' if path == '-' else path}: {reason}")
