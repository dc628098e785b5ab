"""`microbatch job`: list, show, cancel and retry the jobs of a queue.

Rule: stdout has the jobs or what was done; what could not be done is told per job on stderr and by the exit
code. What a filter means is what `list` shows with it, and nothing is done by a filter that nobody confirmed.
"""
# ruff: noqa: PLC0415 - what is heavy is imported by `run`, so that help comes at once

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from microbatch.console.exits import ExitCode, UsageError
from microbatch.console.job_options import add_job_options, check_words, filter_of
from microbatch.console.terminal import complain, confirmed, counted, print_json

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncIterator
    from collections.abc import Set as AbstractSet

    from microbatch.console.job_filter import JobFilter
    from microbatch.console.job_walk import JobPage
    from microbatch.console.jobs import JobAnswer, Jobs

__all__ = ["add_arguments", "run"]

_PROG = "microbatch job"
_REASONS = {
    "unknown": "no such job",
    "foreign": "its key, or one that its lane is listed in, holds something else",
    "faulty": "what is stored there is no job; `job list` says why",
    "gone": "it failed, and its dead letter is gone, with its payload",
    "taken": "it is not failed any more, or its id has been given to another job",
    "garbage": "its dead letter holds no job that could be run",
    "queued": "it waits or runs already",
    "succeeded": "it has its result already; to run it once more, submit it under another id",
    "failed": "it has failed already",
    "cancelled": "it was cancelled, and its payload is not kept; submit it again under another id",
    "expired": "it expired, and its payload is not kept; submit it again under another id",
}
_MOST_TOLD = 100
add_arguments = add_job_options


def run(arguments: argparse.Namespace) -> int:
    """Do one thing with a queue's jobs."""
    import asyncio

    check_words(arguments)
    return asyncio.run(_act(arguments, filter_of(arguments)))


async def _act(arguments: argparse.Namespace, wanted: JobFilter) -> int:
    from microbatch.console.connecting import connected_admin
    from microbatch.console.jobs import CANCELLED, RETRIED
    from microbatch.console.queue_choice import check_known

    async with connected_admin(arguments) as admin:
        check_known(arguments.queue, await admin.queues())
        jobs = admin.jobs(arguments.queue)
        if arguments.action == "list":
            return await _list(jobs, wanted, arguments)
        if arguments.action == "show":
            return await _show(jobs, arguments)
        if not arguments.names:
            _confirm(wanted, arguments)
        if arguments.action == "cancel":
            steps = jobs.cancel(arguments.names) if arguments.names else jobs.cancel_all(wanted)
            return await _tell(steps, CANCELLED, arguments)
        steps = jobs.retry(arguments.names) if arguments.names else jobs.retry_all(wanted)
        return await _tell(steps, RETRIED, arguments)


async def _list(jobs: Jobs, wanted: JobFilter, arguments: argparse.Namespace) -> int:
    from microbatch.console.job_place import PlaceElsewhere

    if arguments.all:
        found = 0
        async for page in jobs.pages(wanted):
            found += len(page.jobs)
            _show_page(page, arguments)
    else:
        try:
            page = await jobs.page(wanted, after=arguments.after, limit=arguments.limit)
        except PlaceElsewhere as error:
            raise UsageError(str(error)) from error
        found = len(page.jobs)
        _show_page(page, arguments)
        if page.after is not None:
            complain(f"{_PROG} list", f"there may be more: --after {page.after}")
    if not found and not arguments.json and (arguments.all or page.after is None):
        print(f"no such jobs in {arguments.queue}")
    return ExitCode.DONE


def _show_page(page: JobPage, arguments: argparse.Namespace) -> None:
    from dataclasses import asdict

    from microbatch.console.job_report import rows_as_table

    if arguments.json:
        for row in page.jobs:
            print_json(asdict(row))
    elif page.jobs:
        print(rows_as_table(page.jobs))


async def _show(jobs: Jobs, arguments: argparse.Namespace) -> int:
    from microbatch.console.job_report import sheet_as_json, sheet_as_text

    (name,) = arguments.names
    sheet = await jobs.show(name, with_payload=arguments.payload)
    if sheet is None:
        raise UsageError(
            f"no job {name!r} in {arguments.queue}: there never was one, or its record has passed its time",
            ExitCode.NOT_FOUND,
        )
    if arguments.json:
        print_json(sheet_as_json(sheet, with_payload=arguments.payload))
    else:
        print(sheet_as_text(sheet, with_payload=arguments.payload, log_lines=arguments.log_lines))
    return ExitCode.DONE


def _confirm(wanted: JobFilter, arguments: argparse.Namespace) -> None:
    """Let nothing be done to jobs that were not named, unless somebody said so."""
    if arguments.yes:
        return
    asks = sys.stdin.isatty() and sys.stderr.isatty()
    states = ", ".join(sorted(wanted.states))
    if not asks:
        raise UsageError(f"--yes is needed to {arguments.action} jobs that are not named")
    if not confirmed(f"{arguments.action} all jobs of {arguments.queue} that fit ({states})?"):
        raise UsageError(f"nothing was done to jobs of {arguments.queue}", ExitCode.FAILED)


async def _tell(
    steps: AsyncIterator[list[JobAnswer]], good: AbstractSet[str], arguments: argparse.Namespace
) -> int:
    """Count what was done, and say what was not."""
    counts: dict[str, int] = dict.fromkeys(sorted(good), 0)
    refused: list[JobAnswer] = []
    async for step in steps:
        for one in step:
            counts[one.answer] = counts.get(one.answer, 0) + 1
            if one.answer not in good and len(refused) < _MOST_TOLD:
                refused.append(one)
        _progress(sum(counts.values()))
    others = sum(number for answer, number in counts.items() if answer not in good)
    done = sum(counts.values()) - others
    for one in refused:
        complain(_PROG, f"{one.id}: {_REASONS.get(one.answer, one.answer)}")
    if others > len(refused):
        complain(_PROG, f"and {others - len(refused):,} more")
    if arguments.json:
        told = [{"id": one.id, "reason": one.answer} for one in refused]
        print_json({"done": done, "counts": counts, "refused": told})
    elif arguments.action == "cancel":
        print(f"{counted(done, 'job')} cancelled")
    else:
        how = f"{counts['redriven']:,} again, {counts['due']:,} ahead of time"
        print(f"{counted(done, 'job')} will run: {how}")
    if arguments.names and counts.get("unknown"):
        return ExitCode.NOT_FOUND
    return ExitCode.FAILED if others else ExitCode.DONE


def _progress(done: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done:,}", end="\r", file=sys.stderr, flush=True)
