"""The log of a child process, written as if its lines were the worker's own.

Rule: a line is on its way before the call that wrote it returns, so that a process that dies has said it. It
crosses as plain values, and in the worker its loggers, filters and handlers judge it as any other line. Which
levels are wanted the child is told when it starts.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any

from microbatch.common.log_context import bound, bound_facts
from microbatch.worker.child_frames import LENGTH_BYTES, frame, message

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

__all__ = ["LogToWorker", "levels_here", "relay", "use_levels"]

log = logging.getLogger("microbatch.worker")
_TRAVELS_AS_IT_IS = (bool, float, type(None))
_FORMATTER = logging.Formatter()


class LogToWorker(logging.Handler):
    """In the child: sends each record to the worker.

    Args:
        line: Where to; what is sent there is not buffered.
    """

    def __init__(self, line: socket.socket) -> None:
        super().__init__()
        self._line = line

    def emit(self, record: logging.LogRecord) -> None:
        """Send it; where that fails, stderr is told, as by every handler."""
        try:
            self._line.sendall(frame(_row_of(record), dict(bound_facts())))
        except ConnectionError:
            return  # the worker is gone: this process ends in a moment, and nobody reads what it says
        except Exception:  # noqa: BLE001 - what a user's object does when it is made a text
            self.handleError(record)


def levels_here() -> dict[str, int]:
    """The levels that this process's loggers were given, by name; the root's is the empty one."""
    named = {
        name: logger.level
        for name, logger in list(logging.root.manager.loggerDict.items())
        if isinstance(logger, logging.Logger) and logger.level
    }
    return {"": logging.root.level, **named}


def use_levels(levels: Mapping[str, int]) -> None:
    """Give this process's loggers these levels."""
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


async def relay(line: socket.socket) -> None:
    """In the worker: say what a child sends, until it ends."""
    reader, writer = await asyncio.open_connection(sock=line)
    with contextlib.closing(writer), contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            length = int.from_bytes(await reader.readexactly(LENGTH_BYTES), "big")
            row, facts = message(await reader.readexactly(length))
            try:
                _say(row, facts)
            except Exception as error:  # noqa: BLE001 - a user's filter may raise what it likes
                log.error("a line of a child process's log is lost: %s", error)


def _row_of(record: logging.LogRecord) -> dict[str, Any]:
    row: dict[str, Any] = {name: _plain(value) for name, value in record.__dict__.items()}
    # As it is, where it can be: the sentence may be one that has an event.
    if isinstance(record.args, tuple) and "%r" not in str(record.msg):
        row["args"] = [_plain(value) for value in record.args]
    else:
        row |= {"msg": _plain(record.getMessage()), "args": []}
    trace = _FORMATTER.formatException(record.exc_info) if record.exc_info else record.exc_text
    return row | {"exc_info": None, "exc_text": _plain(trace)}


def _say(row: dict[str, Any], facts: dict[str, str]) -> None:
    record = logging.makeLogRecord(row | {"args": tuple(row["args"])})
    logger = logging.getLogger(record.name)
    if logger.isEnabledFor(record.levelno):
        with bound(**facts):
            logger.handle(record)


def _plain(value: object) -> bool | float | str | None:
    if isinstance(value, _TRAVELS_AS_IT_IS):
        return value
    if isinstance(value, int) and value.bit_length() < 64:  # noqa: PLR2004 - what msgpack holds
        return value
    return str(value).encode("utf-8", "backslashreplace").decode()
