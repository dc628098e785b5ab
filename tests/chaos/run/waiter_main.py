"""A waiter of a chaos run, `python -m tests.chaos.run.waiter_main`: awaits others' jobs, by id alone.

Rule: it learns of jobs only from the producers' journals, as from a database; it notes every outcome that it
gets, also one that it has got in an earlier life, so that a change would show.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path

from tests.chaos.history import What
from tests.chaos.run.journal import FOLDER_VARIABLE, Journal
from tests.chaos.run.producer_main import await_outcome, opened_client
from tests.chaos.worker_main import end_with_parent

LOOK_S = 0.1
OPEN_LIMIT = 300
EVERY = 3  # of the accepted jobs: the others are awaited by their producer or by nobody


class Tail:
    """The accepted jobs in journals that are being written."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[Path, int] = {}

    def more(self) -> list[str]:
        """Those that came since the last call."""
        found = []
        for path in self._folder.glob("producer-*.jsonl"):
            with path.open("rb") as journal:
                journal.seek(self._read.get(path, 0))
                whole, newline, _ = journal.read().rpartition(b"\n")
            self._read[path] = self._read.get(path, 0) + len(whole) + len(newline)
            for line in whole.splitlines():
                _, what, job, *_ = json.loads(line)
                if what == What.ACCEPTED:
                    found.append(job)
        return found


async def _main() -> None:
    folder = Path(os.environ[FOLDER_VARIABLE])
    journal, tail, room = Journal(folder, "waiter"), Tail(folder), asyncio.Semaphore(OPEN_LIMIT)
    leaving = asyncio.Event()

    def leave() -> None:
        leaving.set()
        room.release()  # whoever waits for room must see it

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, leave)
    waits: set[asyncio.Task[None]] = set()
    async with await opened_client() as client:
        while not leaving.is_set():
            for job_id in tail.more()[::EVERY]:
                await room.acquire()
                if leaving.is_set():
                    break
                wait = asyncio.create_task(await_outcome(client.job(job_id), journal))
                waits.add(wait)
                wait.add_done_callback(waits.discard)
                wait.add_done_callback(lambda _: room.release())
            journal.count_tasks()
            await asyncio.sleep(LOOK_S)
        for wait in waits:
            wait.cancel()


if __name__ == "__main__":
    end_with_parent()
    asyncio.run(_main())
