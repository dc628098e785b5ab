"""`microbatch top`: watch queues, workers and errors as they change.

Rule: it looks and changes nothing. On a terminal it shows itself anew every few seconds, and stays while
Redis is away; for scripts, one look as text or JSON.
"""
# ruff: noqa: PLC0415 - what is heavy is imported by `run`, so that help comes at once

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from microbatch.console.exits import ExitCode, UsageError
from microbatch.console.options import connection_options, count, seconds
from microbatch.console.queue_choice import check_known
from microbatch.console.terminal import print_json, table

if TYPE_CHECKING:
    import argparse

    from microbatch.console.admin import Admin
    from microbatch.console.survey import Survey

__all__ = ["add_arguments", "run"]

_EPILOG = """\
columns of queues:
  JOBS/S   jobs that were settled, in the last ten seconds
  FILL     jobs per batch, as a share of max_batch_size (an operator's limit, or
           what the last worker declared)
  P95      19 of 20 jobs were settled within this time
  OLDEST   how long the oldest waiting job has waited

states of workers: working; idle; watching (waits for a batch to fill); quiet,
leaving (claim nothing new); stuck (only a restart helps); aside (holds
nothing and takes no work just now); silent (no heartbeat: it may be dead);
lost (its jobs were taken over lately)

examples:
  $ microbatch top
  $ microbatch top embed --interval-s 0.5
  $ microbatch top --once --json

exit codes: 0 done; 2 wrong usage, settings or password; 3 no such queue;
69 Redis cannot be reached
"""
_QUEUES = ("QUEUE", "WAITING", "RUNNING", "SCHEDULED", "WORKERS", "JOBS/S", "FILL", "P95", "OLDEST", "DEAD")
_WORKERS = ("WORKER", "STATE", "BATCHES", "JOBS", "BEAT", "QUEUES")
_ERRORS = ("AT", "JOB", "ERROR")
_SHOWN_CHARS = 80


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    parser.epilog = _EPILOG
    parser.add_argument("queue", metavar="QUEUE", nargs="*", help="only these queues (default: all)")
    parser.add_argument(
        "--once", action="store_true", help="look once (also with --json, and off a terminal)"
    )
    parser.add_argument(
        "--interval-s", metavar="S", type=seconds, default=2.0, help="between two looks (default: 2)"
    )
    parser.add_argument(
        "--errors", metavar="N", type=count, default=10, help="the most errors to show (default: 10)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Show how it is, once or until interrupted."""
    import asyncio
    import contextlib

    is_screen = sys.stdout.isatty() and os.environ.get("TERM") not in {"dumb", "unknown"}
    if arguments.once or arguments.json or not is_screen:
        survey = asyncio.run(_once(arguments))
        if arguments.json:
            print_json(_plain(survey))
        else:
            print(_text(survey))
        return ExitCode.DONE
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_live(arguments))
    return ExitCode.DONE


async def _once(arguments: argparse.Namespace) -> Survey:
    from microbatch.console.connecting import connected_admin

    async with connected_admin(arguments) as admin:
        return await _look(admin, arguments)


async def _live(arguments: argparse.Namespace) -> None:
    import asyncio
    from datetime import UTC, datetime

    from microbatch.common.errors import AuthenticationFailed, ConnectionFailed
    from microbatch.console.connecting import connected_admin

    try:
        from rich.console import Console
        from rich.live import Live

        from microbatch.console.top_view import view
    except ImportError as error:
        raise UsageError("a live view needs rich: pip install 'microbatch[cli]', or use --once") from error
    console = Console()
    async with connected_admin(arguments) as admin:
        survey, seen_at, trouble = await _look(admin, arguments), datetime.now(UTC), ""
        with Live(console=console, screen=True, auto_refresh=False, vertical_overflow="crop") as live:
            while True:
                live.update(view(survey, console, seen_at=seen_at, trouble=trouble), refresh=True)
                await asyncio.sleep(max(0.1, arguments.interval_s))
                try:
                    survey, seen_at, trouble = await _look(admin, arguments), datetime.now(UTC), ""
                except AuthenticationFailed:
                    raise
                except ConnectionFailed as error:  # it comes back, and so does the view
                    trouble = str(error)


async def _look(admin: Admin, arguments: argparse.Namespace) -> Survey:
    from microbatch.common.settings import WorkerSettings
    from microbatch.console.survey import surveyed

    limit_s = WorkerSettings.from_command_line(connection_options(arguments)).heartbeat_limit_s
    known = await admin.queues()
    for queue in arguments.queue:
        check_known(queue, known)
    return await surveyed(
        admin, arguments.queue or known, heartbeat_limit_s=limit_s, most_errors=arguments.errors
    )


def _plain(survey: Survey) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(survey)


def _text(survey: Survey) -> str:
    """All of it, as three tables."""
    from microbatch.console.status_command import age

    parts = [
        table(
            _QUEUES,
            [
                (
                    *(row.queue, row.waiting, row.running, row.scheduled, row.workers),
                    f"{row.jobs_per_s:.1f}",
                    None if row.fill is None else f"{row.fill:.0%}",
                    None if row.p95_ms is None else f"{row.p95_ms} ms",
                    age(row.oldest_age_s),
                    row.dead,
                )
                for row in survey.queues
            ],
        )
    ]
    parts.append(
        table(
            _WORKERS,
            [
                (row.worker, row.state, row.batches, row.jobs, f"{row.silent_s:.1f} s", ", ".join(row.queues))
                for row in survey.workers
            ],
        )
    )
    if survey.errors:
        rows = [
            (
                "-" if row.at is None else row.at.isoformat(timespec="seconds").replace("+00:00", "Z"),
                row.job_id or f"{row.queue}/?",
                f"{row.type}: {row.message}"[:_SHOWN_CHARS],
            )
            for row in survey.errors
        ]
        parts.append(table(_ERRORS, rows))
    return "\n\n".join(parts)
