"""`microbatch acl`: the users that a Redis server needs, as lines of its ACL file.

Rule: it asks no server and knows no password. `deploy/redis/users.acl` is what it prints for all queues.
"""
# ruff: noqa: PLC0415 - what is heavy is imported by `run`, so that help comes at once

from __future__ import annotations

from typing import TYPE_CHECKING

from microbatch.console.exits import ExitCode, UsageError
from microbatch.console.terminal import print_json

if TYPE_CHECKING:
    import argparse

__all__ = ["add_arguments", "run"]

_EPILOG = """\
users:
  producer  submits jobs, awaits results, asks for status, cancels
  worker    runs processors
  observer  looks: status, results, dead letters, schedules
  admin     looks and acts (retries, purges, cancels, schedules); the doctor

Each may send the commands of its work and no other, at microbatch's keys and no
others. The user `default` is off. A server refuses the lines until the marks
#sha256-of-the-password-of-... are replaced by #HASH, the SHA-256 of a password.

examples:
  $ microbatch acl > users.acl
  $ microbatch acl embed index

exit codes: 0 done; 2 wrong usage
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    parser.epilog = _EPILOG
    parser.add_argument(
        "queues", metavar="QUEUE", nargs="*", help="let them use these queues only; otherwise all"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the lines."""
    from microbatch.common.identifiers import check_queue
    from microbatch.console.doctor.acl_lines import acl_lines

    try:
        for queue in arguments.queues:
            check_queue(queue)
    except ValueError as error:
        raise UsageError(str(error)) from error
    lines = acl_lines(arguments.queues)
    if arguments.json:
        print_json(lines)
    else:
        print("\n".join(lines))
    return ExitCode.DONE
