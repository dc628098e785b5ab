"""The second line between a worker and a child: a thread there hears it, so that a busy child answers too.

Rule: it also ties the child to its worker: when the worker is gone, the child ends, whatever its processor is
doing. Questions have numbers, so that an answer that comes too late is none to the next one. Whoever does not
answer in time (its interpreter is held, its process is frozen) is passed over.

It never carries jobs.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

from microbatch.worker.child_frames import LENGTH_BYTES, frame, message
from microbatch.worker.child_log import use_levels
from microbatch.worker.stacks import stacks, task_stacks

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable

__all__ = ["DUMP", "LEVELS", "Sideline", "ask_all", "attend"]

DUMP, LEVELS = "dump", "levels"
"""What can be asked: where its threads and tasks are; and, with levels by logger, to log like that."""
LEAST_S = 0.01
READ_BYTES = 1 << 16
DUMP_BYTES = 4_000
log = logging.getLogger("microbatch.worker")


class Sideline:
    """The worker's end; from any thread.

    Args:
        line: A connected socket; closing it ends the child.
        pid: Of the child.
    """

    def __init__(self, line: socket.socket, pid: int) -> None:
        self.pid = pid
        self._line = line
        self._lock = threading.Lock()
        self._asked = 0
        self._came = bytearray()
        self._is_broken = False

    def ask(self, word: str, *values: Any, until_s: float) -> bool:
        """Send a question, to be answered by `hear`; False where that cannot be done by then.

        Args:
            word: `DUMP` or `LEVELS`.
            values: What is said with it.
            until_s: On the monotonic clock.
        """
        with self._lock:
            self._asked += 1
            try:
                self._line.settimeout(_left_s(until_s))
                self._line.sendall(frame(self._asked, word, *values))
            except (OSError, ValueError):
                # A part may have been sent: nothing that follows would be understood.
                self._is_broken = True
            return not self._is_broken

    def hear(self, *, until_s: float) -> Any:
        """The answer to the last question; None where none came in time."""
        with self._lock:
            while not self._is_broken:
                try:
                    number, answer = self._read(until_s)
                except TimeoutError:
                    return None
                except OSError:
                    self._is_broken = True
                else:
                    if number == self._asked:
                        return answer
        return None

    def _read(self, until_s: float) -> list[Any]:
        """The next message; what came of one in time is kept for the next reader."""
        came = self._came
        while True:
            size = LENGTH_BYTES + int.from_bytes(came[:LENGTH_BYTES], "big")
            if len(came) >= LENGTH_BYTES and len(came) >= size:
                whole = bytes(came[LENGTH_BYTES:size])
                del came[:size]
                return message(whole)
            self._line.settimeout(_left_s(until_s))
            part = self._line.recv(READ_BYTES)
            if not part:
                raise ConnectionError("the child has ended")
            came += part

    def close(self) -> None:
        """Let the child end; harmless when repeated."""
        self._is_broken = True
        with contextlib.suppress(OSError):
            self._line.shutdown(socket.SHUT_RDWR)  # whoever hears it in another thread stops at once
        with self._lock:
            self._line.close()


def ask_all(lines: Iterable[Sideline], word: str, *values: Any, timeout_s: float) -> dict[int, Any]:
    """Ask several children at once; the answers by their process ids, of those that gave one in time."""
    until_s = time.monotonic() + timeout_s
    asked = [line for line in lines if line.ask(word, *values, until_s=until_s)]
    answers = {line.pid: line.hear(until_s=until_s) for line in asked}
    return {pid: answer for pid, answer in answers.items() if answer is not None}


def attend(line: socket.socket, loop: asyncio.AbstractEventLoop) -> None:
    """In the child, in a thread: answer until the worker is gone, then end this process at once."""
    try:
        while True:
            number, word, *values = _received(line)
            try:
                answer = _answer(word, values, loop)
            except Exception:
                log.exception("a child process cannot answer %r", word)
                answer = None
            line.sendall(frame(number, answer))
    except OSError:
        os._exit(1)


def _answer(word: str, values: list[Any], loop: asyncio.AbstractEventLoop) -> Any:
    if word == LEVELS:
        use_levels(*values)
        return True
    return f"{stacks(DUMP_BYTES)}\n{task_stacks(loop, DUMP_BYTES)}"


def _received(line: socket.socket) -> list[Any]:
    return message(_exactly(line, int.from_bytes(_exactly(line, LENGTH_BYTES), "big")))


def _exactly(line: socket.socket, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        part = line.recv(size - len(parts))
        if not part:
            raise ConnectionError("the other side has ended")
        parts += part
    return bytes(parts)


def _left_s(until_s: float) -> float:
    return max(LEAST_S, until_s - time.monotonic())
