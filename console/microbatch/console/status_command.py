"""`microbatch status`: how the queues are doing.

Rule: it looks and changes nothing, and costs each queue one script call.
"""
# ruff: noqa: PLC0415 - what is heavy is imported by `run`, so that help comes at once

from __future__ import annotations

from typing import TYPE_CHECKING

from microbatch.console.exits import ExitCode
from microbatch.console.options import connection_options
from microbatch.console.queue_choice import check_known
from microbatch.console.terminal import complain, print_json, table

if TYPE_CHECKING:
    import argparse
    from typing import Any

    from microbatch.producer import AsyncClient

__all__ = ["add_arguments", "age", "run"]

_TITLES = ("QUEUE", "WAITING", "RUNNING", "SCHEDULED", "WORKERS", "OLDEST", "DEAD", "STATE")
_EPILOG = """\
columns:
  WAITING    jobs that no worker holds
  RUNNING    jobs that a worker holds
  SCHEDULED  jobs that wait for their time: delayed ones, and retries
  WORKERS    workers that are alive
  OLDEST     how long the oldest waiting job has waited
  DEAD       jobs that failed for good, kept; `microbatch dead` shows them
  STATE      open; or paused (nothing leaves), draining (nothing comes in), and
             by whom; `microbatch queue resume` opens it

examples:
  $ microbatch status
  $ microbatch status shout --json

exit codes: 0 done; 2 wrong usage, settings or password; 3 no such queue;
69 Redis cannot be reached
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    parser.epilog = _EPILOG
    parser.add_argument(
        "queue", metavar="QUEUE", nargs="?", help="one queue; otherwise all that were ever used"
    )


def run(arguments: argparse.Namespace) -> int:
    """Show the queues."""
    import asyncio

    rows = asyncio.run(_look(arguments))
    for row in rows:
        for key in row.get("foreign", ()):
            complain("microbatch status", f"{key} holds something that is not ours; see microbatch doctor")
    if arguments.json:
        print_json(rows)
    elif rows:
        print(table(_TITLES, [_shown(row) for row in rows]))
    else:
        print("no queues yet: a queue is there from its first job or worker on")
    return ExitCode.DONE


async def _look(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    from microbatch.common.settings import WorkerSettings
    from microbatch.console.connecting import connected

    # What counts as alive is the workers' setting.
    limit_s = WorkerSettings.from_command_line(connection_options(arguments)).heartbeat_limit_s
    async with connected(arguments) as client:
        queues = sorted(await client.queues())
        if arguments.queue is not None:
            check_known(arguments.queue, queues)
            queues = [arguments.queue]
        return [await _row(client, queue, limit_s) for queue in queues]


async def _row(client: AsyncClient, queue: str, heartbeat_limit_s: float) -> dict[str, Any]:
    from dataclasses import asdict

    from microbatch.common.keys import QueueKeys

    status = await client.queue_status(queue, heartbeat_limit_s=heartbeat_limit_s)
    row: dict[str, Any] = {
        "queue": queue,
        "waiting": status.waiting,
        "running": status.running,
        "scheduled": status.scheduled,
        "workers": status.workers,
        "oldest_age_s": status.oldest_age_s,
        "dead": status.dead,
        "dead_trimmed": status.dead_trimmed,
        "max_batch_size": status.max_batch_size,
        "max_wait_ms": status.max_wait_ms,
        "paused": status.gate.paused and asdict(status.gate.paused),
        "draining": status.gate.draining and asdict(status.gate.draining),
    }
    if status.foreign:  # so seldom that it has no column
        row["foreign"] = [QueueKeys(queue).prefix + name for name in status.foreign]
    return row


def _shown(row: dict[str, Any]) -> tuple[object, ...]:
    counts = (row[name] for name in ("queue", "waiting", "running", "scheduled", "workers"))
    return (*counts, age(row["oldest_age_s"]), row["dead"], gate_text(row))


def gate_text(row: dict[str, Any]) -> str:
    """`open`, or who holds the queue up."""
    held = [
        f"{word} since {row[word]['since']:%Y-%m-%d %H:%M:%SZ} by {row[word]['who']}"
        for word in ("paused", "draining")
        if row[word]
    ]
    return ", ".join(held) or "open"


def age(age_s: float | None) -> str | None:
    """A time span in its largest unit; None as it is."""
    if age_s is None:
        return None
    for unit_s, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if age_s >= unit_s:
            return f"{age_s / unit_s:.1f} {unit}"
    return f"{age_s:.1f} s"
