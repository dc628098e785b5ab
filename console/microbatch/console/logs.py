"""The log of a program that we start: readable lines on a terminal, else JSON lines, on stderr.

Rule: structlog formats every line, of `logging` and of structlog, ours and the user's. One record is one line
of text, plus its traceback if it has one; in JSON it is exactly one line. No character of a record steers the
terminal. What is bound where a line was written is said with it.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from typing import TYPE_CHECKING, Any, Literal

import structlog
from structlog.contextvars import merge_contextvars
from structlog.processors import ExceptionRenderer, JSONRenderer, StackInfoRenderer, TimeStamper
from structlog.stdlib import (
    BoundLogger,
    ExtraAdder,
    LoggerFactory,
    PositionalArgumentsFormatter,
    ProcessorFormatter,
    add_log_level,
    add_logger_name,
    filter_by_level,
)

from microbatch.common.log_context import bound_facts
from microbatch.common.log_events import event_of
from microbatch.console.json_values import printable_json
from microbatch.console.terminal import escaped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from structlog.typing import EventDict, Processor

__all__ = ["LogFormat", "log_to_stderr"]

LogFormat = Literal["auto", "console", "json"]
_FIRST = ("time", "level", "logger", "event", "message")
_OF_SEVERAL_LINES = ("exception", "stack")


def log_to_stderr(level: str, form: LogFormat) -> None:
    """Send what is logged in this process, at `level` and above, to stderr; `auto`: JSON off a terminal."""
    as_json = form == "json" or (form == "auto" and not sys.stderr.isatty())
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        ProcessorFormatter(
            foreign_pre_chain=[_from_logging, ExtraAdder()],
            pass_foreign_args=True,
            processors=[
                merge_contextvars,
                _with_what_is_bound,
                add_log_level,
                add_logger_name,
                TimeStamper(fmt="iso", utc=True, key="time"),
                StackInfoRenderer(),
                ExceptionRenderer(),
                ProcessorFormatter.remove_processors_meta,
                *(_as_json() if as_json else _for_people()),
            ],
        )
    )
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    structlog.configure(  # for a user's processor that logs with it
        processors=[filter_by_level, PositionalArgumentsFormatter(), ProcessorFormatter.wrap_for_formatter],
        logger_factory=LoggerFactory(),
        wrapper_class=BoundLogger,
    )


def _from_logging(_logger: object, _method: str, fields: EventDict) -> EventDict:
    """A record of `logging`: its text is a sentence, and where it is one of ours, it has an event."""
    record: logging.LogRecord = fields["_record"]
    fields["message"] = fields.pop("event")
    fields["_ours"] = event_of(record.msg, fields.pop("positional_args"))
    if record.exc_text and not record.exc_info:  # from a child process, where the exception itself stayed
        fields["exception"] = record.exc_text
    return fields


def _with_what_is_bound(_logger: object, _method: str, fields: EventDict) -> EventDict:
    for name, value in bound_facts().items():
        fields[name] = fields.get(name) or value  # the program's own `extra` says more
    fields.setdefault("message", fields.get("event"))
    return fields


def _as_json() -> Sequence[Processor]:
    return _named, JSONRenderer(_one_line, ensure_ascii=False)


def _named(_logger: object, _method: str, fields: EventDict) -> EventDict:
    """The event of one of our sentences, and what is filled into it; the same keys first in each line."""
    event, facts = fields.pop("_ours", ("", {}))
    if event:
        fields = {**fields, **{name: facts[name] for name in facts if name not in _FIRST}, "event": event}
    if "exception" in fields:
        fields["traceback"] = fields.pop("exception")
    return {name: fields.pop(name) for name in _FIRST if name in fields} | dict(fields)


def _one_line(fields: EventDict, **options: Any) -> str:
    return printable_json(json.dumps(fields, **options))


def _for_people() -> Sequence[Processor]:
    renderer = structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty() and not os.environ.get("NO_COLOR"),
        event_key="message",
        timestamp_key="time",
        pad_event_to=0,
        sort_keys=False,
        exception_formatter=structlog.dev.plain_traceback,
    )
    return _harmless, renderer


def _harmless(_logger: object, _method: str, fields: EventDict) -> EventDict:
    """Nothing that steers the terminal, and nothing twice: a sentence has its facts in it."""
    fields.pop("_ours", None)
    fields.pop("worker", None)
    if fields.get("event") == fields["message"]:
        del fields["event"]
    return {escaped(name): _shown(name, value) for name, value in fields.items()}


def _shown(name: str, value: object) -> object:
    if not isinstance(value, str):
        return value
    return "\n".join(map(escaped, value.splitlines())) if name in _OF_SEVERAL_LINES else escaped(value)
