"""`microbatch events`: what happens to the jobs of a queue, as it happens.

Rule: it looks and changes nothing; one line per event, until it is interrupted.
"""
# ruff: noqa: PLC0415 - what is heavy is imported by `run`, so that help comes at once

from __future__ import annotations

from typing import TYPE_CHECKING

from microbatch.console.exits import ExitCode, UsageError
from microbatch.console.terminal import escaped, print_json

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncIterator

    from microbatch.producer import AsyncClient, JobUpdate

__all__ = ["add_arguments", "run"]

_EPILOG = """\
With a job's id: where it is now, then everything that happens to it, and the
end of the command with the end of the job. With a queue: all events of all its
jobs from now on, until it is interrupted (Ctrl-C). Events of a queue may be
lost with a connection; a job's are not.

examples:
  $ microbatch events shout
  $ microbatch events shout/order-17
  $ microbatch events shout --json | jq -r .event

exit codes: 0 done; 2 wrong usage, settings or password; 3 no such job;
69 Redis cannot be reached
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    parser.epilog = _EPILOG
    parser.add_argument("subject", metavar="QUEUE|JOB_ID", help="a queue's name, or the full id of one job")


def run(arguments: argparse.Namespace) -> int:
    """Show events."""
    import asyncio

    from microbatch.common.identifiers import check_queue, split_job_id

    try:
        (split_job_id if "/" in arguments.subject else check_queue)(arguments.subject)
    except ValueError as error:
        raise UsageError(str(error)) from error
    asyncio.run(_show(arguments))
    return ExitCode.DONE


async def _show(arguments: argparse.Namespace) -> None:
    from dataclasses import asdict

    from microbatch.console.connecting import connected

    async with connected(arguments) as client:
        async for update in _updates(client, arguments.subject):
            if arguments.json:
                print_json(asdict(update))
            else:
                print(escaped(_shown(update)), flush=True)


def _updates(client: AsyncClient, subject: str) -> AsyncIterator[JobUpdate]:
    return client.job(subject).subscribe() if "/" in subject else client.events(subject)


def _shown(update: JobUpdate) -> str:
    words = [
        update.at.isoformat(timespec="milliseconds") if update.at else "-",
        update.id,
        update.event,
    ]
    if update.attempt:
        words.append(f"attempt={update.attempt}")
    if update.batch_id:
        words.append(f"batch={update.batch_id} size={update.batch_size or '-'} worker={update.worker}")
    if update.progress:
        words.append(f"{update.progress.fraction:.0%} {update.progress.text}")
    if update.line:
        words.append(f"{update.line.level}: {update.line.text}")
    if update.error:
        words.append(f"{update.error.type}: {update.error.message}")
    return " ".join(words)
