"""A producer of a chaos run: `python -m tests.chaos.run.producer_main SEED RATE_HZ`, until told to leave.

Rule: what it is about to do is written down before it is done. A submit without an answer is noted as
unknown, and half of those are submitted again under the same id, as users are told to do.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from tests.chaos.history import Outcome, What
from tests.chaos.run.journal import FOLDER_VARIABLE, Journal
from tests.chaos.run.unit import GENERATION_VARIABLE
from tests.chaos.run.workload import Task, task
from tests.chaos.worker_main import end_with_parent

from microbatch.producer import (
    AsyncClient,
    AsyncJobHandle,
    ClientClosed,
    ConnectionFailed,
    JobError,
    JobFailed,
    MicrobatchError,
    NotReplicated,
    QueueDraining,
    QueueFull,
    ResultNotFound,
    ResultTimeout,
    ServerFull,
    SubmitTimeout,
)

if TYPE_CHECKING:
    from collections.abc import Coroutine

__all__ = ["await_outcome"]

BURST_S = 0.05
OPEN_LIMIT = 400
RESULT_S = 600.0
"""How long a result may take: a job that asks for three runs may wait for three recoveries."""
PAUSE_S = 0.2
CLOSED_S = 3.0
LATEST_CANCEL_S = 0.2
DURABILITY_VARIABLE = "CHAOS_DURABILITY"
"""What is asked for with every submit."""


async def await_outcome(job: AsyncJobHandle, journal: Journal) -> None:
    """Wait for a job that was accepted, however long Redis is away, and note how it ended."""
    while True:
        try:
            outcome = Outcome("succeeded", await job.result(timeout_s=RESULT_S))
        except JobFailed as failed:
            outcome = Outcome("failed", failed.error_type)
        except ResultNotFound:
            journal.note(What.MISSING, job.id)
            return
        except JobError as error:
            outcome = Outcome(type(error).__name__.removeprefix("Job").lower(), None)
        except ConnectionFailed:
            await asyncio.sleep(PAUSE_S)
            continue
        except ClientClosed:  # this process leaves
            return
        except ResultTimeout:
            journal.odd(f"no result within {RESULT_S:g} s for {job.id}")
            return
        except MicrobatchError as error:
            journal.odd(f"{type(error).__name__} for {job.id}: {error}")
            return
        journal.note(What.SEEN, job.id, outcome)
        return


class Producer:
    """Submits at a rate, in bursts."""

    def __init__(self, client: AsyncClient, journal: Journal, seed: int) -> None:
        self._client = client
        self._journal = journal
        self._seed = seed
        self._generation = int(os.environ[GENERATION_VARIABLE])
        self._number = 0
        self._durability = cast("Any", os.environ.get(DURABILITY_VARIABLE, "fast"))
        self._room = asyncio.Semaphore(OPEN_LIMIT)
        self._tasks: set[asyncio.Task[None]] = set()
        self.leaving = asyncio.Event()

    async def run(self, rate_hz: float) -> None:
        chance = random.Random(f"{self._seed} {self._generation}")
        most = max(2, round(2 * rate_hz * BURST_S))
        while not self.leaving.is_set():
            for _ in range(chance.randrange(1, most)):
                await self._room.acquire()
                if self.leaving.is_set():
                    break
                self._number += 1
                self._spawn(self._submit(task(self._seed, self._generation, self._number), chance.random()))
            self._journal.count_tasks()
            await asyncio.sleep(BURST_S)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSED_S)

    def leave(self) -> None:
        """Submit nothing more; also where there is no room and `run` waits for some."""
        self.leaving.set()
        self._room.release()

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        running = asyncio.create_task(work)
        self._tasks.add(running)
        running.add_done_callback(self._done)

    def _done(self, ended: asyncio.Task[None]) -> None:
        self._tasks.discard(ended)
        self._room.release()
        if not ended.cancelled() and (error := ended.exception()) is not None:
            self._journal.odd(f"{type(error).__name__} in a submit: {error}")

    async def _submit(self, one: Task, chance: float) -> None:
        timeout_s = 0.3 if chance < 0.2 else None
        is_stubborn = chance < 0.1 or chance > 0.5
        while not self.leaving.is_set():
            self._journal.note(What.SUBMITTED, one.job_id)
            try:
                job = await self._client.submit(
                    one.queue,
                    one.payload,
                    job_id=one.local,
                    timeout_s=timeout_s,
                    durability=self._durability,
                    **_options(one),
                )
            except (ConnectionFailed, SubmitTimeout, NotReplicated):
                self._journal.note(What.UNKNOWN, one.job_id)
            except (QueueFull, QueueDraining, ServerFull):
                self._journal.note(What.REFUSED, one.job_id)
            except MicrobatchError as error:
                self._journal.note(What.UNKNOWN, one.job_id)
                self._journal.odd(f"{type(error).__name__} at submit: {error}")
            else:
                if job.id != one.job_id:
                    self._journal.note(What.JOINED, one.job_id, detail=job.id)
                    return
                self._journal.note(What.ACCEPTED, one.job_id)
                if one.payload["do"] == "cancel":
                    await self._cancel(job, chance)
                if chance > 0.6:
                    await await_outcome(job, self._journal)
                return
            if not is_stubborn:
                return
            await asyncio.sleep(PAUSE_S)

    async def _cancel(self, job: AsyncJobHandle, chance: float) -> None:
        """Cancel it sooner or later; whether that came in time is what its outcome says."""
        await asyncio.sleep(chance * LATEST_CANCEL_S)
        try:
            cancelled = await job.cancel()
        except (ConnectionFailed, ClientClosed):
            return
        except MicrobatchError as error:
            self._journal.odd(f"{type(error).__name__} at cancel of {job.id}: {error}")
            return
        if cancelled:
            self._journal.note(What.SEEN, job.id, Outcome("cancelled", None))


def _options(one: Task) -> dict[str, Any]:
    options = dict(one.options)
    if run_in_s := options.pop("run_in_s", None):
        options["run_at"] = datetime.now(UTC) + timedelta(seconds=run_in_s)
    return options


async def opened_client() -> AsyncClient:
    """A client, once there is a server: this process may be started while its link is cut."""
    while True:
        client = AsyncClient()
        try:
            await client.open()
        except ConnectionFailed:
            await client.close()
        else:
            return client


async def _main(seed: int, rate_hz: float) -> None:
    journal = Journal(Path(os.environ[FOLDER_VARIABLE]), "producer")
    async with await opened_client() as client:
        producer = Producer(client, journal, seed)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, producer.leave)
        await producer.run(rate_hz)


if __name__ == "__main__":
    end_with_parent()
    asyncio.run(_main(int(sys.argv[1]), float(sys.argv[2])))
