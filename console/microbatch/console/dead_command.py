"""`microbatch dead`: list, show, retry and purge the dead letters of a queue.

Rule: stdout has the letters or what was done; what could not be done is told per letter on stderr and by the
exit code. Deleting asks first where a person sits at the terminal.
"""
# ruff: noqa: PLC0415 - what is heavy is imported by `run`, so that help comes at once

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING

from microbatch.console.exits import ExitCode, UsageError
from microbatch.console.options import count
from microbatch.console.terminal import complain, confirmed, counted, print_json

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncIterator

    from microbatch.console.admin import Admin
    from microbatch.console.dead_letters import DeadLetters, Redriven

__all__ = ["add_arguments", "run"]

MOST_LISTED = 1_000_000
_PROG = "microbatch dead"
_EPILOG = """\
actions:
  list   the newest letters
  show   one letter: payload, headers, error with traceback
  retry  give jobs another run under their own ids; their letters go
  purge  delete letters; the jobs stay failed

A letter is named by its id from `list`, or by the id of its job.

examples:
  $ microbatch dead list shout
  $ microbatch dead show shout order-17
  $ microbatch dead retry shout 1763650000123-0 1763650000456-0
  $ microbatch dead retry shout --all
  $ microbatch dead purge shout --all --yes

exit codes: 0 done; 1 a job could not be retried, or you said no; 2 wrong
usage, settings or password; 3 no such queue or letter; 69 Redis cannot be
reached
"""
_ACTIONS = ("list", "show", "retry", "purge")
_REASONS = {
    "GONE": "no such letter",
    "NOT_FAILED": "its job is not failed any more, or its id has been given to another one",
    "WRONG_TYPE": "the key of its job holds something else",
    "NO_JOB": "it holds no job that could be run",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    parser.epilog = _EPILOG
    parser.add_argument("action", metavar="ACTION", choices=_ACTIONS, help="list, show, retry or purge")
    parser.add_argument("queue", metavar="QUEUE", help="the queue")
    parser.add_argument("names", metavar="ID", nargs="*", help="letters: show takes one, retry and purge any")
    parser.add_argument("--all", action="store_true", help="retry or purge every letter of the queue")
    parser.add_argument(
        "--limit",
        metavar="N",
        type=partial(count, most=MOST_LISTED),
        default=20,
        help="list so many at most (default: %(default)s)",
    )
    parser.add_argument("--yes", action="store_true", help="purge without asking")


def run(arguments: argparse.Namespace) -> int:
    """Do one thing with a queue's dead letters."""
    import asyncio

    from microbatch.common.identifiers import check_queue

    action, names = arguments.action, len(arguments.names)
    if action == "list" and names:
        raise UsageError("list takes no letter; show shows one")
    if action == "show" and names != 1:
        raise UsageError("say which letter to show: its id, or its job's; list lists them")
    if action in {"list", "show"} and arguments.all:
        raise UsageError(f"--all is for retry and purge, not for {action}")
    if action in {"retry", "purge"} and bool(names) == arguments.all:
        raise UsageError(f"say which letters to {action}, or --all")
    try:
        check_queue(arguments.queue)
    except ValueError as error:
        raise UsageError(str(error)) from error
    return asyncio.run(_act(arguments))


async def _act(arguments: argparse.Namespace) -> int:
    from microbatch.console.connecting import connected_admin
    from microbatch.console.queue_choice import check_known

    async with connected_admin(arguments) as admin:
        check_known(arguments.queue, await admin.queues())
        letters = admin.dead_letters(arguments.queue)
        if arguments.action == "list":
            return await _list(letters, arguments)
        if arguments.action == "show":
            return await _show(letters, arguments)
        if arguments.action == "retry":
            return await _retry(admin, letters, arguments)
        return await _purge(admin, letters, arguments)


async def _list(letters: DeadLetters, arguments: argparse.Namespace) -> int:
    from microbatch.console.dead_report import as_json, as_table

    found = await letters.newest(arguments.limit)
    if arguments.json:
        print_json([as_json(letter, whole=False) for letter in found])
    elif found:
        print(as_table(found))
    else:
        print(f"no dead letters in {arguments.queue}")
    return ExitCode.DONE


async def _show(letters: DeadLetters, arguments: argparse.Namespace) -> int:
    from microbatch.console.dead_report import as_json, as_text

    (name,) = arguments.names
    letter = await letters.find(name)
    if letter is None:
        raise UsageError(f"no dead letter {name!r} in {arguments.queue}; list lists them", ExitCode.NOT_FOUND)
    if arguments.json:
        print_json(as_json(letter, whole=True))
    else:
        print(as_text(letter))
    return ExitCode.DONE


async def _retry(admin: Admin, letters: DeadLetters, arguments: argparse.Namespace) -> int:
    from microbatch.common.scripts import RedriveCode

    total = len(arguments.names)
    missing: list[str] = []
    if arguments.all:
        total = (await admin.queue_status(arguments.queue)).dead
        steps: AsyncIterator[list[Redriven]] = letters.redrive_all()
    else:
        ids, missing = await letters.resolve(arguments.names)
        steps = letters.redrive(ids)
    again, refused, done = 0, [(name, RedriveCode.GONE) for name in missing], 0
    async for step in steps:
        done += len(step)
        again += sum(one.code is RedriveCode.REDRIVEN for one in step)
        refused += [(one.letter_id, one.code) for one in step if one.code is not RedriveCode.REDRIVEN]
        _progress(done, total)
    for name, code in refused:
        complain(_PROG, f"{name}: {_REASONS[code.name]}")
    if arguments.json:
        told = [{"letter": name, "reason": code.name.lower()} for name, code in refused]
        print_json({"retried": again, "refused": told})
    else:
        print(f"{counted(again, 'job')} will run again")
    gone = any(code is RedriveCode.GONE for _, code in refused) and not arguments.all
    return ExitCode.NOT_FOUND if gone else ExitCode.FAILED if refused else ExitCode.DONE


async def _purge(admin: Admin, letters: DeadLetters, arguments: argparse.Namespace) -> int:
    ids: list[str] = []
    missing: list[str] = []
    if arguments.all:
        total = (await admin.queue_status(arguments.queue)).dead
    else:
        ids, missing = await letters.resolve(arguments.names)
        total = len(ids)
    if total and not arguments.yes and not confirmed(f"delete {counted(total, 'dead letter')}?"):
        raise UsageError("nothing was deleted", ExitCode.FAILED)
    deleted = 0
    if arguments.all:
        async for step in letters.purge_all():
            deleted += step
            _progress(deleted, total)
    else:
        deleted = await letters.purge(ids)
    for name in missing:
        complain(_PROG, f"{name}: {_REASONS['GONE']}")
    if arguments.json:
        print_json({"purged": deleted})
    else:
        print(f"{counted(deleted, 'dead letter')} deleted")
    found = arguments.all or (not missing and deleted == len(ids))
    return ExitCode.DONE if found else ExitCode.NOT_FOUND


def _progress(done: int, total: int) -> None:
    if sys.stderr.isatty():
        end = "\n" if done >= total else ""
        print(f"\r{done:,} of {total:,}", end=end, file=sys.stderr, flush=True)
