"""`microbatch cron`: the recurring jobs of queues.

Rule: stdout has the schedules or what was done; a schedule that is not there is told on stderr and by the
exit code.
"""
# ruff: noqa: PLC0415 - what is heavy is imported by `run`, so that help comes at once

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from microbatch.console.exits import ExitCode, UsageError
from microbatch.console.options import seconds
from microbatch.console.terminal import print_json

if TYPE_CHECKING:
    import argparse

    from microbatch.common.schedules.schedule import Schedule
    from microbatch.common.schedules.status import ScheduleStatus
    from microbatch.console.admin import Admin
    from microbatch.console.schedules import Schedules

__all__ = ["add_arguments", "run"]

_PROG = "microbatch cron"
_EPILOG = """\
actions:
  list     the schedules of a queue, or of all queues
  add      declare a schedule, or change the one of this name
  remove   forget it; a worker whose code declares it brings it back
  pause    let no further tick come
  resume   go on with the next tick from now
  run-now  submit one job as the schedule's ticks do; prints its id

Every tick gets exactly one job, however many workers there are; the workers of
the queue see to it. A job that is due already is not taken back.

examples:
  $ microbatch cron add report nightly --cron '0 3 * * *' --timezone Asia/Tokyo
  $ microbatch cron add report poll --every-s 30 --payload '{"source": "api"}'
  $ microbatch cron list
  $ microbatch cron pause report nightly
  $ microbatch cron run-now report nightly

exit codes: 0 done; 1 the queue is full, or has too many schedules; 2 wrong
usage, settings or password; 3 no such queue or schedule; 69 Redis cannot be
reached
"""
_ACTIONS = ("list", "add", "remove", "pause", "resume", "run-now")
_ONLY_ADD = (
    *("cron", "every_s", "timezone", "payload", "kind", "missed"),
    *("max_missed", "priority", "batch_key", "max_attempts", "result_ttl_s", "expires_in_s"),
)
_TITLES = ("QUEUE", "NAME", "RULE", "NEXT (UTC)", "MISSED", "STATE")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    parser.epilog = _EPILOG
    parser.add_argument("action", metavar="ACTION", choices=_ACTIONS, help=", ".join(_ACTIONS))
    parser.add_argument("queue", metavar="QUEUE", nargs="?", help="the queue; list takes all without it")
    parser.add_argument("name", metavar="NAME", nargs="?", help="the schedule's name within the queue")
    group = parser.add_argument_group("what to add")
    group.add_argument("--cron", metavar="EXPRESSION", help="minute hour day month weekday, or @daily")
    group.add_argument("--timezone", metavar="ZONE", help="of the cron expression (default: UTC)")
    group.add_argument("--every-s", metavar="S", type=seconds, help="instead: an interval, 1 s or more")
    group.add_argument("--payload", metavar="JSON", help="what each job carries (default: null)")
    group.add_argument("--kind", metavar="KIND", help="which of the queue's processors they are for")
    group.add_argument(
        "--missed",
        choices=("skip", "run_once", "run_all"),
        help="what becomes of ticks that no worker could take (default: run_once)",
    )
    group.add_argument("--max-missed", metavar="N", type=int, help="run_all runs the latest N (default: 100)")
    group.add_argument("--priority", metavar="N", type=int, help="higher goes first (default: 0)")
    group.add_argument("--batch-key", metavar="KEY", help="only jobs of one key share a batch")
    group.add_argument("--max-attempts", metavar="N", type=int, help="runs of a job that fails")
    group.add_argument("--result-ttl-s", metavar="S", type=seconds, help="how long results are kept")
    group.add_argument("--expires-in-s", metavar="S", type=seconds, help="a job not started by then expires")


def run(arguments: argparse.Namespace) -> int:
    """Do one thing with schedules."""
    import asyncio

    from microbatch.common.identifiers import check_queue
    from microbatch.common.schedules.schedule import check_name

    action = arguments.action
    if action != "add" and (given := [name for name in _ONLY_ADD if getattr(arguments, name) is not None]):
        raise UsageError(f"--{given[0].replace('_', '-')} is for add, not for {action}")
    if action == "list" and arguments.name is not None:
        raise UsageError("list takes a queue at most")
    if action != "list" and arguments.name is None:
        raise UsageError(f"say which schedule: {_PROG} {action} QUEUE NAME")
    try:
        if arguments.queue is not None:
            check_queue(arguments.queue)
        if arguments.name is not None:
            check_name(arguments.name)
        schedule = _schedule(arguments) if action == "add" else None
    except ValueError as error:
        raise UsageError(str(error)) from error
    return asyncio.run(_act(arguments, schedule))


def _schedule(arguments: argparse.Namespace) -> Schedule:
    from microbatch.common.schedules.schedule import Schedule
    from microbatch.console.json_values import BadJson, parse_json

    more: dict[str, Any] = {
        name: getattr(arguments, name) for name in _ONLY_ADD if getattr(arguments, name) is not None
    }
    if "payload" in more:
        try:
            more["payload"] = parse_json(more["payload"])
        except BadJson as error:
            raise UsageError(f"--payload is {error}") from error
    return Schedule(arguments.name, queue=arguments.queue, **more)


async def _act(arguments: argparse.Namespace, schedule: Schedule | None) -> int:
    from microbatch.console.connecting import connected_admin
    from microbatch.console.queue_choice import check_known

    async with connected_admin(arguments) as admin:
        if schedule is not None:
            return await _add(admin.schedules(arguments.queue), schedule, as_json=arguments.json)
        queues = await admin.queues()
        if arguments.queue is not None:
            check_known(arguments.queue, queues)
        if arguments.action == "list":
            return await _list(admin, queues if arguments.queue is None else [arguments.queue], arguments)
        return await _change(admin.schedules(arguments.queue), arguments)


async def _list(admin: Admin, queues: list[str], arguments: argparse.Namespace) -> int:
    from microbatch.console.terminal import table

    found = [schedule for queue in queues for schedule in await admin.schedules(queue).all()]
    if arguments.json:
        print_json([dataclasses.asdict(schedule) for schedule in found])
    elif found:
        print(table(_TITLES, [_row(schedule) for schedule in found]))
    else:
        print(f"no schedules{f' in {arguments.queue}' if arguments.queue else ''}")
    return ExitCode.DONE


def _row(schedule: ScheduleStatus) -> tuple[object, ...]:
    state = (
        "paused" if schedule.paused_at else f"cannot be read: {schedule.fault}" if schedule.fault else "on"
    )
    at = schedule.next_at
    return (
        *(schedule.queue, schedule.name, schedule.rule or None),
        *(at and f"{at:%Y-%m-%d %H:%M:%S}", schedule.missed or None, state),
    )


async def _add(schedules: Schedules, schedule: Schedule, *, as_json: bool) -> int:
    answer = await schedules.put(schedule)
    status = await schedules.find(schedule.name)
    at = status.next_at if status else None
    if as_json:
        print_json({"queue": schedule.queue, "name": schedule.name, "answer": answer, "next_at": at})
    else:
        said = {"new": "added", "same": "there already", "changed": "changed"}[answer]
        paused = ", paused" if status and status.paused_at else ""
        print(f"{schedule.name}: {said}{paused}{f', next {at:%Y-%m-%d %H:%M:%SZ}' if at else ''}")
    return ExitCode.DONE


async def _change(schedules: Schedules, arguments: argparse.Namespace) -> int:
    from microbatch.common.identifiers import split_job_id
    from microbatch.common.keys import QueueKeys

    action, name = arguments.action, arguments.name
    if action == "run-now":
        job = await schedules.run_now(name)
        if job is not None:
            queue, local = split_job_id(job)
            shown = {"id": job, "queue": queue, "result_key": QueueKeys(queue).job(local)}
            if arguments.json:
                print_json(shown)
            else:
                print(job)
            return ExitCode.DONE
    elif await getattr(schedules, action)(name):
        done = {"pause": "paused", "resume": "resumed", "remove": "removed"}[action]
        if arguments.json:
            print_json({"queue": arguments.queue, "name": name, "answer": done})
        else:
            print(f"{name}: {done}")
        return ExitCode.DONE
    raise UsageError(
        f"no schedule {name!r} in {arguments.queue}; {_PROG} list lists them", ExitCode.NOT_FOUND
    )
