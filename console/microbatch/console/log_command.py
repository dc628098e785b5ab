"""`microbatch log`: what the processor of a job wrote into its log, from any host.

Rule: stdout has the lines and nothing else.
"""
# ruff: noqa: PLC0415 - what is heavy is imported by `run`, so that help comes at once

from __future__ import annotations

from typing import TYPE_CHECKING

from microbatch.console.exits import ExitCode, UsageError
from microbatch.console.terminal import escaped, print_json

if TYPE_CHECKING:
    import argparse

    from microbatch.producer import LogLine

__all__ = ["add_arguments", "run"]

_EPILOG = """\
Each line has its time, the run (attempt) of the job, its level and its text.
A log is kept as long as the job's result.

examples:
  $ microbatch log shout/order-17
  $ microbatch log shout/order-17 --json

exit codes: 0 done; 2 wrong usage, settings or password; 3 no such job;
69 Redis cannot be reached
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    parser.epilog = _EPILOG
    parser.add_argument("job_id", metavar="JOB_ID", help="the full id that submit printed: queue/local")


def run(arguments: argparse.Namespace) -> int:
    """Show the log."""
    import asyncio
    from dataclasses import asdict

    from microbatch.common.identifiers import split_job_id

    try:
        split_job_id(arguments.job_id)
    except ValueError as error:
        raise UsageError(str(error)) from error
    lines = asyncio.run(_read(arguments))
    if arguments.json:
        print_json([asdict(line) for line in lines])
    else:
        for line in lines:
            print(_shown(line))
    return ExitCode.DONE


async def _read(arguments: argparse.Namespace) -> list[LogLine]:
    from microbatch.console.connecting import connected

    async with connected(arguments) as client:
        return await client.job(arguments.job_id).logs()


def _shown(line: LogLine) -> str:
    at = line.at.isoformat(timespec="milliseconds")
    return f"{at} {line.attempt} {line.level.upper():7} {escaped(line.text)}"
