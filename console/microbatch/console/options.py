"""The options that every command has, and how option values are read.

Rule: an option that sets a setting stays text here; the settings classes judge it, so that a wrong value
gets the same sentence wherever it was written.
"""

from __future__ import annotations

import argparse
import math
from datetime import datetime
from typing import Any

__all__ = ["add_common_options", "connection_options", "count", "moment", "seconds"]

MOST_SHOWN = 10_000


def add_common_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of every command."""
    group = parser.add_argument_group("options of every command")
    group.add_argument("-h", "--help", action="help", help="show this text and exit")
    group.add_argument(
        "--redis-url",
        metavar="URL",
        help="where Redis or Valkey is, such as redis://:password@host:6379/0 (also rediss://, unix://, "
        "embedded://); otherwise MICROBATCH_REDIS_URL, otherwise redis://localhost:6379/0",
    )
    group.add_argument(
        "--connect-timeout-s", metavar="S", help="how long to wait for Redis at the start (default: 10)"
    )
    group.add_argument("--json", action="store_true", help="write JSON, for machines")
    group.add_argument(
        "--traceback", action="store_true", help="show the traceback of an error, to report it"
    )


def connection_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """The settings among the options of every command, by field name."""
    return {"redis_url": arguments.redis_url, "connect_timeout_s": arguments.connect_timeout_s}


def seconds(text: str) -> float:
    """Read a time.

    Raises:
        argparse.ArgumentTypeError: It is none.
    """
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")
    return value


def moment(text: str) -> datetime:
    """Read a moment; `submit` says what it must be.

    Raises:
        argparse.ArgumentTypeError: It is none.
    """
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no moment such as 2030-01-31T09:00+01:00") from error


def count(text: str, most: int = MOST_SHOWN) -> int:
    """Read how many of something to show, at most `most`.

    Raises:
        argparse.ArgumentTypeError: It is no such number.
    """
    if not text.isdecimal() or not 0 < int(text) <= most:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to {most:,}")
    return int(text)
