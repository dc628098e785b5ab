"""A producer process: it submits its docstrings one by one, many at a time, and checks each result.

`python -m microbatch.console.demo.producer async|threads URL FILE SHARE SHARES` says on standard output, as
JSON lines: `{"ready": true}`, then, told to begin, `{"done": n}` now and then, and its report at the end.

Rule: it does what a service does whose requests each bring one item: every task or thread submits one job,
waits for its result, and takes the next. It never looks at more of the system than the client shows.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from microbatch.console.demo import tether
from microbatch.console.demo.corpus import read_share
from microbatch.console.demo.processor import QUEUE
from microbatch.console.demo.work import Work
from microbatch.producer import AsyncClient, Client, MicrobatchError

__all__ = ["STYLES", "TASKS", "THREADS"]

TASKS = 256
"""Jobs in flight of the asyncio producer."""

THREADS = 64
"""Jobs in flight of the other one: as many threads as a web server may have."""

STYLES = ("async", "threads")
_TIMEOUT_S = 20.0


async def _with_tasks(client: AsyncClient, work: Work) -> None:
    async def requests() -> None:
        for item in work:
            try:
                job = await client.submit(QUEUE, item.payload, timeout_s=_TIMEOUT_S)
                item.accepted(job.id)
                item.answered(await job.result(timeout_s=_TIMEOUT_S))
            except MicrobatchError as error:
                item.went_wrong(error)

    async with asyncio.TaskGroup() as group:
        for _ in range(TASKS):
            group.create_task(requests())


def _with_threads(client: Client, work: Work) -> None:
    def requests() -> None:
        for item in work:
            try:
                job = client.submit(QUEUE, item.payload, timeout_s=_TIMEOUT_S)
                item.accepted(job.id)
                item.answered(job.result(timeout_s=_TIMEOUT_S))
            except MicrobatchError as error:
                item.went_wrong(error)

    with ThreadPoolExecutor(THREADS) as threads:
        for done in [threads.submit(requests) for _ in range(THREADS)]:
            done.result()  # a bug in `requests` ends this process, and is not one job less


def main() -> int:
    """Do one share, as the command line says."""
    parser = argparse.ArgumentParser(prog="demo producer")
    parser.add_argument("style", choices=STYLES)
    parser.add_argument("url")
    parser.add_argument("file", type=Path)
    parser.add_argument("share", type=int)
    parser.add_argument("shares", type=int)
    arguments = parser.parse_args()
    begun = tether.hold()
    share = read_share(arguments.file, arguments.share, arguments.shares)

    async def run_async() -> Work:
        async with AsyncClient(arguments.url) as client:
            print('{"ready": true}', flush=True)
            await asyncio.to_thread(begun.wait)
            work = Work(share)
            await _with_tasks(client, work)
            return work

    def run_threads() -> Work:
        with Client(arguments.url) as client:
            print('{"ready": true}', flush=True)
            begun.wait()
            work = Work(share)
            _with_threads(client, work)
            return work

    work = asyncio.run(run_async()) if arguments.style == "async" else run_threads()
    sys.stdout.flush()
    line = memoryview(f"{work.report().to_line()}\n".encode())
    while line:  # an unbuffered stdout may take a part of a long line, and `print` would drop the rest
        line = line[os.write(sys.stdout.fileno(), line) :]
    return 0


if __name__ == "__main__":
    sys.exit(main())
