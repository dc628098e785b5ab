"""The log of a worker that runs as a command: readable lines, or JSON lines, on stderr.

Rule: one record is one line of text, plus its traceback if it has one; in JSON it is exactly one line. No
character of a record steers the terminal.
"""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime

from microbatch.console.json_values import json_text
from microbatch.console.terminal import escaped

__all__ = ["log_to_stderr"]


def log_to_stderr(level: str, *, json_lines: bool) -> None:
    """Send what is logged in this process, at `level` and above, to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines() if json_lines else _Lines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


class _Lines(logging.Formatter):
    """`2030-01-31T12:00:00.123Z INFO message`, the traceback below."""

    def format(self, record: logging.LogRecord) -> str:
        line = f"{_moment(record)} {record.levelname} {escaped(record.getMessage())}"
        return "\n".join([line, *map(escaped, _trace(self, record).splitlines())])


class _JsonLines(logging.Formatter):
    """One object a line: time, level, logger, message, and traceback where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "time": _moment(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        trace = _trace(self, record)
        return json_text(fields | {"traceback": trace} if trace else fields)


def _moment(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _trace(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    trace = formatter.formatException(record.exc_info) if record.exc_info else ""
    return "\n".join(part for part in (trace, record.stack_info) if part)
