"""`microbatch demo`: the whole system at work on this machine, on real input, with a summary.

Rule: results go to standard output, everything else to standard error. The exit code is 0 only where every
job of both passes has exactly its own result.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from microbatch.console.exits import ExitCode, UsageError
from microbatch.console.options import count
from microbatch.console.terminal import complain, escaped, print_json

if TYPE_CHECKING:
    import argparse

__all__ = ["add_arguments", "run"]

_DESCRIPTION = """\
See the whole system at work. An embedded server is started, with two producers and two workers. Every
docstring of Python's standard library becomes a job and ends in a full-text index; every result is checked.
Then the same is done with batches of one, to compare. It takes about ten seconds and leaves nothing behind.
"""
_PROG = "microbatch demo"
MOST_JOBS = 1_000_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    parser.description = _DESCRIPTION
    parser.add_argument(
        "--jobs",
        metavar="N",
        type=partial(count, most=MOST_JOBS),
        help="take N of the docstrings (default: all)",
    )
    parser.add_argument(
        "--search", metavar="QUERY", default="event loop", help="ask the index this (default: event loop)"
    )
    parser.add_argument(
        "--keep", metavar="DIR", type=Path, help="leave index.sqlite and summary.json in this folder"
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the demo and print its summary."""
    # The heavy part of the command; its help does without.
    from microbatch.console.demo.child import DemoFailed  # noqa: PLC0415
    from microbatch.console.demo.index import IndexUnavailable  # noqa: PLC0415
    from microbatch.console.demo.interruption import Interrupted  # noqa: PLC0415
    from microbatch.console.demo.play import NoWork, Wish, play  # noqa: PLC0415
    from microbatch.console.demo.progress import Progress  # noqa: PLC0415

    if arguments.redis_url is not None:
        complain(_PROG, "note: --redis-url is not used, the demo starts a server of its own")
    wish = Wish(arguments.search, arguments.jobs, arguments.keep)
    try:
        summary = play(wish, Progress(sys.stderr))
    except Interrupted as signal:
        complain(_PROG, f"ended by {signal}; nothing is left behind")
        return signal.exit_code
    except DemoFailed as error:
        for line in str(error).splitlines():
            complain(_PROG, line)
        return ExitCode.BUG
    except (IndexUnavailable, NoWork) as error:
        raise UsageError(str(error)) from error
    except OSError as error:
        if arguments.keep is None or error.filename is None or not _is_below(error.filename, arguments.keep):
            raise
        raise UsageError(f"--keep: cannot write {error.filename}: {error.strerror}") from error
    if arguments.json:
        print_json(summary.as_dict())
    else:
        print(f"\n{summary.as_text()}\n")
        if wish.keep is not None:
            print(f"Kept in {escaped(str(wish.keep))}: index.sqlite, summary.json")
    return ExitCode.DONE if summary.ok else ExitCode.FAILED


def _is_below(filename: str, directory: Path) -> bool:
    return Path(filename).is_relative_to(directory)
