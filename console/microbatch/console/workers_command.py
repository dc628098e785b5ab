"""`microbatch workers`: list the workers, and tell one, some or all of them what to do.

Rule: stdout has one line for each worker, with its answer or why there is none; whoever did not answer makes
the exit code 4, whoever refused 1. Nobody is addressed by accident: `send` wants to be told whom.
"""
# ruff: noqa: PLC0415 - what is heavy is imported by `run`, so that help comes at once

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from microbatch.console.exits import ExitCode, UsageError
from microbatch.console.options import connection_options, seconds
from microbatch.console.terminal import escaped, print_json, table

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping

    from microbatch.console.admin import Admin
    from microbatch.console.crew import CrewReply
    from microbatch.console.survey import WorkerRow

__all__ = ["add_arguments", "run"]

_EPILOG = """\
actions:
  list          who works, for which queues, and what each holds
  send COMMAND  tell workers what to do, and wait for their answers

commands:
  quiet                     claim nothing new; what runs is finished
  resume                    claim again
  stop                      drain and leave, as on TERM
  resize concurrency N      run N batches at a time, of each of its queues
  set max_batch_size N      limit the batches of the worker's queues, for all
  set max_wait_ms MS        their workers, as `microbatch queue limits` does
  ping                      answer
  stats                     what it has done, and what it uses
  dump                      where its threads, tasks and child processes are,
                            and which batches are open
  log-level LEVEL [LOGGER]  debug, info, warning or error

Workers answer while their processors are busy. One that does not answer in
time will not do it later either.

examples:
  $ microbatch workers
  $ microbatch workers send ping --all
  $ microbatch workers send resize concurrency 4 --label gpu
  $ microbatch workers send stop --worker web-1:4242:5f0c9e21

exit codes: 0 done, by all; 1 one refused; 2 wrong usage, settings or password;
3 no such worker, label or queue; 4 one did not answer; 69 Redis cannot be
reached
"""
_TITLES = ("WORKER", "STATE", "SLOTS", "BATCHES", "JOBS", "BEAT", "VERSION", "LABELS", "QUEUES")
_ORDERLY = {"resize": "concurrency", "log-level": "level"}  # orders whose first value needs no name


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    parser.epilog = _EPILOG
    parser.add_argument("action", metavar="ACTION", nargs="?", choices=("list", "send"), help="list or send")
    parser.add_argument("words", metavar="COMMAND", nargs="*", help="what to do, with its arguments")
    parser.add_argument("--worker", metavar="ID", action="append", help="this one; can be repeated")
    parser.add_argument(
        "--label", metavar="LABEL", action="append", help="those that have this label; repeated: all of them"
    )
    parser.add_argument("--all", action="store_true", help="send: every worker")
    parser.add_argument("--queue", metavar="QUEUE", help="of this queue only, and only this queue's share")
    parser.add_argument(
        "--timeout-s", metavar="S", type=seconds, help="wait so long for answers (default: 5)"
    )


def run(arguments: argparse.Namespace) -> int:
    """List workers, or order them to do something."""
    import asyncio

    from microbatch.common.orders import check_order

    if arguments.action != "send":
        if arguments.words or arguments.all or arguments.timeout_s is not None:
            raise UsageError("to tell workers something say `send COMMAND`")
        return asyncio.run(_list(arguments))
    if sum(map(bool, (arguments.worker, arguments.label, arguments.all))) != 1:
        raise UsageError("say whom: --worker ID, --label LABEL or --all")
    if not arguments.words:
        raise UsageError("say which command; see microbatch workers --help")
    name, *rest = arguments.words
    try:
        values = check_order(name, _values(name, rest))
    except ValueError as error:
        raise UsageError(str(error)) from error
    return asyncio.run(_send(arguments, name, values))


def _values(name: str, words: list[str]) -> dict[str, str]:
    """`concurrency 4`, `concurrency=4` or, where there is only one such value, `4`."""
    values: dict[str, str] = {}
    left = list(words)
    if left and name in _ORDERLY and left[0].partition("=")[0] != _ORDERLY[name]:
        values[_ORDERLY[name]] = left.pop(0)
        if name == "log-level" and left and "=" not in left[0] and left[0] != "logger":
            values["logger"] = left.pop(0)
    while left:
        key, equals, value = left.pop(0).partition("=")
        if not equals:
            if not left:
                raise ValueError(f"{name}: say the value of {key!r:.80}")
            value = left.pop(0)
        values[key] = value
    return values


async def _chosen(admin: Admin, arguments: argparse.Namespace, *, with_lost: bool = False) -> list[WorkerRow]:
    from difflib import get_close_matches

    from microbatch.common.settings import WorkerSettings
    from microbatch.console.crew import WorkerNotFound
    from microbatch.console.queue_choice import check_known

    if arguments.queue is not None:
        check_known(arguments.queue, await admin.queues())
    limit_s = WorkerSettings.from_command_line(connection_options(arguments)).heartbeat_limit_s
    crew, ids = admin.crew(arguments.queue), arguments.worker or ()
    try:
        return await crew.workers(
            ids=ids, labels=arguments.label or (), heartbeat_limit_s=limit_s, with_lost=with_lost
        )
    except WorkerNotFound as error:
        there = [row.worker for row in await crew.workers(heartbeat_limit_s=limit_s)]
        close = get_close_matches(ids[0], there, n=1) if ids else []
        hint = f"; did you mean {close[0]}?" if close else "; `microbatch workers` lists them"
        raise UsageError(f"{error}{hint}", ExitCode.NOT_FOUND) from error


async def _list(arguments: argparse.Namespace) -> int:
    from microbatch.console.connecting import connected_admin

    async with connected_admin(arguments) as admin:
        rows = await _chosen(admin, arguments, with_lost=True)
    if arguments.json:
        print_json([_plain(row) for row in rows])
    elif rows:
        print(table(_TITLES, [_shown(row) for row in rows]))
    else:
        print("no workers")
    return ExitCode.DONE


async def _send(arguments: argparse.Namespace, name: str, values: dict[str, str]) -> int:
    from dataclasses import asdict

    from microbatch.console.connecting import connected_admin

    timeout_s = 5.0 if arguments.timeout_s is None else arguments.timeout_s
    async with connected_admin(arguments) as admin:
        rows = await _chosen(admin, arguments)
        if not rows:
            raise UsageError("no worker is there to be told", ExitCode.NOT_FOUND)
        crew = admin.crew(arguments.queue)
        replies = await crew.order(name, values, workers=rows, timeout_s=timeout_s)
    if arguments.json:
        print_json([asdict(reply) for reply in replies])
    else:
        for reply in replies:
            print(_line(reply))
            for line in _dumped(reply.value):
                print(f"  {escaped(line)}")
    seen = {reply.status for reply in replies}
    if seen & {"unanswered", "gone"}:
        return ExitCode.TIMED_OUT
    return ExitCode.FAILED if seen - {"done"} else ExitCode.DONE


def _plain(row: WorkerRow) -> dict[str, Any]:
    host, _, pid = row.worker.rpartition(":")[0].rpartition(":")
    return {
        "id": row.worker,
        "host": host,
        "pid": int(pid) if pid.isdecimal() else None,
        "labels": list(row.labels),
        "state": row.state,
        "queues": row.queues,
        "concurrency": row.concurrency,
        "in_flight": row.jobs,
        "batches_in_flight": row.batches,
        "heartbeat_age_s": row.silent_s,
        "version": row.version or None,
    }


def _shown(row: WorkerRow) -> tuple[object, ...]:
    from microbatch.console.status_command import age

    held = (row.concurrency, row.batches, row.jobs, age(row.silent_s), row.version or None)
    return (row.worker, row.state, *held, ", ".join(row.labels) or None, ", ".join(row.queues))


def _line(reply: CrewReply) -> str:
    """`WORKER STATUS what it told`, the parts of nested values named with dots."""
    told = [
        f"{name.removeprefix('queues.')}={value}"
        for name, value in _flat(reply.value)
        if name.partition(".")[0] not in {"stacks", "tasks", "children", "queue"}
    ]
    where = [f"queue={reply.value['queue']}"] if "queue" in reply.value else []
    return escaped(" ".join([reply.worker, reply.status, *where, *told, reply.error])).rstrip()


def _dumped(value: Mapping[str, Any]) -> Iterator[str]:
    """The lines of a dump: threads, tasks, then the same of each child process."""
    for name in ("stacks", "tasks"):
        yield from str(value.get(name, "")).splitlines()
    children = value.get("children")
    for pid, text in children.items() if isinstance(children, dict) else ():
        yield f"child process {pid}:"
        yield from (f"  {line}" for line in str(text).splitlines())


def _flat(value: Any, prefix: str = "") -> list[tuple[str, object]]:
    found: list[tuple[str, object]] = []
    for name, each in value.items():
        if isinstance(each, dict):
            found += _flat(each, f"{prefix}{name}.")
        else:
            shown = ",".join(map(str, each)) if isinstance(each, list) else each
            found.append((f"{prefix}{name}", shown))
    return found
