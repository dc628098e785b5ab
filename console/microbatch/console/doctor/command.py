"""`microbatch doctor`: look at a deployment, and say what is wrong and how to mend it.

Rule: it changes nothing. Its exit code is 0 where it found no error; warnings are for people to weigh.
"""
# ruff: noqa: PLC0415 - what is heavy is imported by `run`, so that help comes at once

from __future__ import annotations

from typing import TYPE_CHECKING

from microbatch.console.exits import ExitCode, UsageError
from microbatch.console.options import connection_options
from microbatch.console.terminal import print_json

if TYPE_CHECKING:
    import argparse

    from microbatch.console.doctor.finding import Finding

__all__ = ["add_arguments", "run"]

ROLE_NAMES = ("producer", "worker", "observer", "operator")
_EPILOG = """\
It looks at: the server's kind, version and known holes; whether scripts run;
memory and eviction; persistence; replication; the clocks; the rights of the
user (ACL); waiting and stuck jobs; workers; orphaned keys. It changes nothing.

An administrator sees most. To judge the user that the programs have:
  $ microbatch doctor --user app --role producer --role worker

examples:
  $ microbatch doctor
  $ microbatch doctor shout --json

exit codes: 0 no error (there may be warnings); 1 an error was found; 2 wrong
usage, settings or password; 69 Redis cannot be reached
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    parser.epilog = _EPILOG
    parser.add_argument(
        "queues", metavar="QUEUE", nargs="*", help="these queues; otherwise all that were ever used"
    )
    parser.add_argument(
        "--role",
        action="append",
        choices=ROLE_NAMES,
        metavar="ROLE",
        help="what the user has to be allowed: producer, worker, observer (status, result, dead letters) or "
        "operator (retry and purge dead letters, cancel); may be repeated (default: all of them)",
    )
    parser.add_argument("--user", metavar="NAME", help="judge this user's rights instead of one's own")


def run(arguments: argparse.Namespace) -> int:
    """Look, and tell."""
    import asyncio

    from microbatch.common.identifiers import check_queue
    from microbatch.console.doctor.finding import Severity
    from microbatch.console.doctor.report import as_json, as_lines

    try:
        for queue in arguments.queues:
            check_queue(queue)
    except ValueError as error:
        raise UsageError(str(error)) from error
    findings = asyncio.run(_examine(arguments))
    if arguments.json:
        print_json(as_json(findings))
    else:
        print("\n".join(as_lines(findings)))
    bad = any(finding.severity is Severity.ERROR for finding in findings)
    return ExitCode.FAILED if bad else ExitCode.DONE


async def _examine(arguments: argparse.Namespace) -> list[Finding]:
    import time

    from microbatch.common.settings import WorkerSettings
    from microbatch.console.connecting import reached
    from microbatch.console.doctor.checks import diagnose
    from microbatch.console.doctor.examiner import Examiner
    from microbatch.console.doctor.gathering import Scope, gather

    settings = WorkerSettings.from_command_line(connection_options(arguments))
    async with reached(arguments) as connection:
        scope = Scope(
            arguments.queues,
            arguments.role or ROLE_NAMES,
            arguments.user,
            settings.heartbeat_limit_s,
            connection.endpoint.url,
        )
        return diagnose(await gather(Examiner(connection), scope, wall_clock_s=time.time))
