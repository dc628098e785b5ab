"""The log of a worker that runs as a command: readable lines on a terminal, else JSON lines, on stderr.

Rule: one record is one line of text, plus its traceback if it has one; in JSON it is exactly one line. No
character of a record steers the terminal. What is bound where a line was written is said with it.
"""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from typing import Literal

from microbatch.common.log_context import LogContext, facts_of
from microbatch.common.log_events import event_of
from microbatch.console.json_values import json_text
from microbatch.console.terminal import escaped

__all__ = ["LogFormat", "log_to_stderr"]

LogFormat = Literal["auto", "console", "json"]


def log_to_stderr(level: str, form: LogFormat) -> None:
    """Send what is logged in this process, at `level` and above, to stderr; `auto`: JSON off a terminal."""
    as_json = form == "json" or (form == "auto" and not sys.stderr.isatty())
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(LogContext())
    handler.setFormatter(_JsonLines() if as_json else _Lines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


class _Lines(logging.Formatter):
    """`2030-01-31T12:00:00.123Z INFO message [queue=q batch_id=b]`, the traceback below."""

    def format(self, record: logging.LogRecord) -> str:
        line = f"{_moment(record)} {record.levelname} {escaped(record.getMessage())}"
        facts = " ".join(f"{name}={value}" for name, value in facts_of(record).items() if name != "worker")
        line += f" [{escaped(facts)}]" if facts else ""
        return "\n".join([line, *map(escaped, _trace(self, record).splitlines())])


class _JsonLines(logging.Formatter):
    """One object a line: time, level, logger, event, message, facts, and traceback where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        event, facts = event_of(record)
        fields: dict[str, object] = {
            "time": _moment(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            **({"event": event} if event else {}),
            "message": record.getMessage(),
        }
        for name, value in {**facts_of(record), **facts}.items():
            fields.setdefault(name, value)
        trace = _trace(self, record)
        return json_text(fields | {"traceback": trace} if trace else fields)


def _moment(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _trace(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    trace = formatter.formatException(record.exc_info) if record.exc_info else ""
    return "\n".join(part for part in (trace, record.stack_info) if part)
