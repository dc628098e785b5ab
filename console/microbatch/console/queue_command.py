"""`microbatch queue`: pause, drain, resume, purge and limit queues.

Rule: stdout has what holds afterwards. A drain that is waited for ends when the queue is empty; purging asks
first where a person sits at the terminal.
"""
# ruff: noqa: PLC0415 - what is heavy is imported by `run`, so that help comes at once

from __future__ import annotations

from typing import TYPE_CHECKING

from microbatch.console.exits import ExitCode, UsageError
from microbatch.console.options import seconds
from microbatch.console.terminal import confirmed, counted, print_json, table

if TYPE_CHECKING:
    import argparse

    from microbatch.common.scripts import QueueGate
    from microbatch.console.admin import Admin
    from microbatch.console.queue_control import QueueControl, QueueLimits

__all__ = ["add_arguments", "run"]

_PROG = "microbatch queue"
_EPILOG = """\
actions:
  pause   nothing leaves: jobs are accepted and wait, running batches finish
  drain   nothing comes in: submits are refused, what is there is processed;
          with --wait, return when the queue is empty
  resume  both go again
  purge   cancel every job that waits or is scheduled; running ones go on
  limits  show what holds for the queue, or change it: NAME=VALUE sets a limit,
          NAME= takes it away. Workers heed it within a second

limits:
  max_batch_size          the most jobs per batch, whatever workers declare
  max_wait_ms             how long a job may wait for others, likewise
  max_queue_length        how many jobs it may hold, whatever producers say
  jobs_per_s              what the fleet may start in a second; likewise
                          batches_per_s and cost_per_s
  burst_s                 how many seconds' worth may start at once
  max_concurrent_batches  how many batches the fleet may run at a time
  weight@KEY              the share of a batch key
  NAME@KEY says a rate of one batch key, NAME@* of each

examples:
  $ microbatch queue pause embed
  $ microbatch queue drain embed --wait --timeout-s 60
  $ microbatch queue limits embed max_batch_size=128 max_wait_ms=20
  $ microbatch queue limits embed max_batch_size=

exit codes: 0 done; 1 you said no; 2 wrong usage, settings or password; 3 no
such queue; 4 not empty in time; 69 Redis cannot be reached
"""
_ACTIONS = ("pause", "drain", "resume", "purge", "limits")
_LOOK_S = 0.2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    parser.epilog = _EPILOG
    parser.add_argument("action", metavar="ACTION", choices=_ACTIONS, help=", ".join(_ACTIONS))
    parser.add_argument("queue", metavar="QUEUE", help="the queue")
    parser.add_argument("changes", metavar="NAME=VALUE", nargs="*", help="limits to change")
    parser.add_argument("--wait", action="store_true", help="drain: return when the queue is empty")
    parser.add_argument(
        "--timeout-s", metavar="S", type=seconds, help="wait so long at most (default: for ever)"
    )
    parser.add_argument("--yes", action="store_true", help="purge without asking")


def run(arguments: argparse.Namespace) -> int:
    """Do one thing with a queue."""
    import asyncio

    from microbatch.common.identifiers import check_queue
    from microbatch.common.limits import check_limit

    if arguments.changes and arguments.action != "limits":
        raise UsageError(f"{arguments.action} takes nothing but the queue")
    if arguments.wait and arguments.action != "drain":
        raise UsageError(f"--wait is for drain, not for {arguments.action}")
    if arguments.timeout_s is not None and not arguments.wait:
        raise UsageError("--timeout-s is for drain --wait")
    changes: dict[str, str] = {}
    for change in arguments.changes:
        name, equals, value = change.partition("=")
        if not equals:
            raise UsageError(f"{change!r}: say NAME=VALUE, or NAME= to take a limit away")
        changes[name] = value
    try:
        check_queue(arguments.queue)
        for name, value in changes.items():
            check_limit(name, value)
    except ValueError as error:
        raise UsageError(str(error)) from error
    return asyncio.run(_act(arguments, changes))


async def _act(arguments: argparse.Namespace, changes: dict[str, str]) -> int:
    from microbatch.console.connecting import connected_admin
    from microbatch.console.queue_choice import check_known

    action = arguments.action
    async with connected_admin(arguments) as admin:
        check_known(arguments.queue, await admin.queues())
        control = admin.control(arguments.queue)
        if action == "purge":
            return await _purge(admin, control, arguments)
        if action == "limits":
            limits = await (control.limit(dict(changes)) if changes else control.limits())
            return _show_limits(arguments, limits)
        gate = await getattr(control, action)()
        if arguments.wait and not await _is_empty(admin, arguments):
            raise UsageError(f"{arguments.queue} is not empty yet; it goes on draining", ExitCode.TIMED_OUT)
        return _show_gate(arguments, gate)


async def _is_empty(admin: Admin, arguments: argparse.Namespace) -> bool:
    """Wait until nothing waits, runs or is scheduled; False where that takes too long."""
    import asyncio

    try:
        async with asyncio.timeout(arguments.timeout_s):
            while True:
                status = await admin.queue_status(arguments.queue)
                if not (status.waiting or status.running or status.scheduled):
                    return True
                await asyncio.sleep(_LOOK_S)
    except TimeoutError:
        return False


async def _purge(admin: Admin, control: QueueControl, arguments: argparse.Namespace) -> int:
    status = await admin.queue_status(arguments.queue)
    total = status.waiting + status.scheduled
    if total and not arguments.yes and not confirmed(f"cancel {counted(total, 'job')} of {arguments.queue}?"):
        raise UsageError("nothing was cancelled", ExitCode.FAILED)
    cancelled = 0
    async for step in control.purge():
        cancelled += step
    if arguments.json:
        print_json({"queue": arguments.queue, "cancelled": cancelled})
    else:
        print(f"{arguments.queue}: cancelled {counted(cancelled, 'job')}")
    return ExitCode.DONE


def _show_gate(arguments: argparse.Namespace, gate: QueueGate) -> int:
    from dataclasses import asdict

    from microbatch.console.status_command import gate_text

    row = asdict(gate)
    if arguments.json:
        print_json({"queue": arguments.queue} | row)
    else:
        print(f"{arguments.queue}: {gate_text(row)}{', empty' if arguments.wait else ''}")
    return ExitCode.DONE


def _show_limits(arguments: argparse.Namespace, limits: QueueLimits) -> int:
    if arguments.json:
        print_json({"queue": arguments.queue, "limits": limits.limits, "declared": limits.declared})
        return ExitCode.DONE
    rows = [(name, value, "operator") for name, value in limits.limits.items()]
    rows += [(name, value, "worker") for name, value in limits.declared.items() if name not in limits.limits]
    if rows:
        print(table(("LIMIT", "VALUE", "SAID BY"), rows))
    else:
        print(f"{arguments.queue}: no limits")
    return ExitCode.DONE
