"""`microbatch batches`: how a queue's jobs were batched lately, and why.

Rule: it looks and changes nothing; one round trip.
"""
# ruff: noqa: PLC0415 - what is heavy is imported by `run`, so that help comes at once

from __future__ import annotations

from typing import TYPE_CHECKING

from microbatch.console.exits import ExitCode
from microbatch.console.options import count
from microbatch.console.queue_choice import check_known
from microbatch.console.terminal import print_json, table

if TYPE_CHECKING:
    import argparse

    from microbatch.producer import BatchSummary

__all__ = ["add_arguments", "run"]

_TITLES = ("FINISHED", "SIZE", "REASON", "WAITED_MS", "RUN_MS", "WORKER", "BATCH")
_EPILOG = """\
columns:
  REASON     why the batch left: size (it was full), wait (its oldest job had
             waited long enough), budget (of bytes or cost, or what a limit
             left), recovery (jobs of a dead or leaving worker)
  WAITED_MS  how long its oldest job had waited when it left
  RUN_MS     how long it took from then on

examples:
  $ microbatch batches shout
  $ microbatch batches shout --limit 1000 --json

exit codes: 0 done; 2 wrong usage, settings or password; 3 no such queue;
69 Redis cannot be reached
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    parser.epilog = _EPILOG
    parser.add_argument("queue", metavar="QUEUE", help="the queue's name")
    parser.add_argument(
        "--limit", metavar="N", type=count, default=20, help="the most batches to show (default 20)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Show the batches."""
    import asyncio

    batches = asyncio.run(_look(arguments))
    if arguments.json:
        print_json([_row(batch) for batch in batches])
    elif batches:
        print(table(_TITLES, [_shown(batch) for batch in batches]))
    else:
        print("no batches yet")
    return ExitCode.DONE


async def _look(arguments: argparse.Namespace) -> list[BatchSummary]:
    from microbatch.console.connecting import connected

    async with connected(arguments) as client:
        check_known(arguments.queue, await client.queues())
        return await client.recent_batches(arguments.queue, limit=arguments.limit)


def _row(batch: BatchSummary) -> dict[str, object]:
    from dataclasses import asdict

    return asdict(batch)


def _shown(batch: BatchSummary) -> tuple[object, ...]:
    finished = batch.finished_at.isoformat(timespec="milliseconds")
    return (
        finished,
        batch.batch_size,
        batch.reason,
        batch.waited_ms,
        batch.run_ms,
        batch.worker,
        batch.batch_id,
    )
