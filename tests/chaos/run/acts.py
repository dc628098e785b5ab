"""What an operator does in the middle of the trouble: holds queues up, moves jobs, and orders workers about.

Rule: it does so through `Admin`, as people do, and undoes in the end what would hold anything up. Jobs are
only touched where the workload says that they may be; what concerns the judge is written down before it is
done. What a list shows that is no job is noted as odd, and so is an order that fails by a bug of ours.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.chaos.history import What
from tests.chaos.run.clerk import Clerk
from tests.chaos.run.workload import HURRIED, OPERATED, QUEUES

from microbatch.console.job_filter import JobFilter
from microbatch.producer import ConnectionFailed, ServerFull

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable, Mapping

    from tests.chaos.run.journal import Journal

    from microbatch.console.admin import Admin
    from microbatch.console.crew import CrewReply

__all__ = ["HINDRANCES", "Acts", "let_all_go"]

HINDRANCES = (ConnectionFailed, ServerFull)
"""What an operator may meet while Redis is away or full."""

HOLD_S = (0.2, 2.0)
PAUSE_S = 0.2
ANSWER_S = 1.0
QUITTING = "it is leaving"
"""Why a worker may refuse an order."""
RESIZABLE = ("mixed", "raising", "short", "plain")
"""Queues whose workers may have another number of slots: more child processes would start all the time."""


async def let_all_go(admin: Admin) -> bool:
    """No queue is held up any more, and no worker is quiet; False where one has not heard of that."""
    for queue in QUEUES:
        await admin.control(queue).resume()
    crew = admin.crew()
    replies = await crew.order("resume", workers=await crew.workers(), timeout_s=ANSWER_S)
    return all(reply.status != "unanswered" for reply in replies)


class Acts:
    """Does one thing after the other.

    Args:
        admin: Open.
        chance: Makes all choices.
        journal: What it does is written down there.
        leaving: Set where it has to come to an end.
    """

    def __init__(self, admin: Admin, chance: random.Random, journal: Journal, leaving: asyncio.Event) -> None:
        self._admin = admin
        self._chance = chance
        self._journal = journal
        self._leaving = leaving
        self.clerk = Clerk(admin, chance, journal, self._wait)
        self._acts: Mapping[str, Callable[[str], Awaitable[None]]] = {
            "pause": self._pause,
            "drain": self._drain,
            "cancel jobs": self._cancel,
            "hurry jobs": self._hurry,
            "list jobs": self._list,
            "quiet": self._quiet,
            "resize": self._resize,
            "stop": self._stop,
            "ask": self._ask,
            "purge": self.clerk.purge,
            "purge letters": self.clerk.purge_letters,
            "cron add": self.clerk.add,
            "cron pause": self.clerk.pause,
            "cron remove": self.clerk.remove,
            "cron run-now": self.clerk.run_now,
        }

    async def one(self) -> None:
        """Do anything.

        Raises:
            ConnectionFailed: Redis is away; what it was about to undo is to be undone by `let_all_go`.
            ServerFull: It has no room for this.
        """
        name, queue = self._chance.choice(list(self._acts)), self._chance.choice(QUEUES)
        await self._acts[name](queue)
        self._journal.act(name)

    # --- queues and jobs ---------------------------------------------------------------------------

    async def _pause(self, queue: str) -> None:
        await self._admin.control(queue).pause()
        await self._wait()
        await self._admin.control(queue).resume()

    async def _drain(self, queue: str) -> None:
        await self._admin.control(queue).drain()
        await self._wait()
        await self._admin.control(queue).resume()

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(self._chance.uniform(*HOLD_S)):
                await self._leaving.wait()
        except TimeoutError:
            pass

    async def _cancel(self, queue: str) -> None:
        """Whatever may be cancelled is, wherever it is."""
        async for _ in self._admin.jobs(queue).cancel_all(JobFilter(batch_key=OPERATED)):
            pass

    async def _hurry(self, _queue: str) -> None:
        """Delayed jobs run now."""
        queue, kind = HURRIED
        jobs = self._admin.jobs(queue)
        page = await jobs.page(JobFilter({"scheduled"}))
        names = [row.id for row in page.jobs if row.id is not None and row.id.endswith(f"-{kind}")]
        for name in names:
            self._journal.note(What.HURRIED, name)
        async for _ in jobs.retry(names):
            pass

    async def _list(self, queue: str) -> None:
        """Whatever is listed is a job."""
        async for page in self._admin.jobs(queue).pages(
            JobFilter({"queued", "running", "scheduled", "dead"})
        ):
            for row in page.jobs:
                if row.fault or row.id is None:
                    self._journal.odd(f"listed in {queue}: {row}")

    # --- workers -----------------------------------------------------------------------------------

    async def _quiet(self, queue: str) -> None:
        crew = self._admin.crew(queue)
        some = self._chance.sample(found, 1) if (found := await crew.workers()) else []
        self._check(await crew.order("quiet", workers=some, timeout_s=ANSWER_S))
        await self._wait()
        while some and not self._leaving.is_set():
            replies = await crew.order("resume", workers=some, timeout_s=ANSWER_S)
            self._check(replies)
            # One that is frozen has not heard of it, and may be as quiet as before when it goes on.
            unheard = {reply.worker for reply in replies if reply.status == "unanswered"}
            some = [row for row in await crew.workers() if row.worker in unheard]
            await asyncio.sleep(PAUSE_S)

    async def _resize(self, queue: str) -> None:
        crew = self._admin.crew(queue if queue in RESIZABLE else RESIZABLE[0])
        values = {"concurrency": self._chance.randrange(1, 4)}
        self._check(await crew.order("resize", values, workers=await crew.workers(), timeout_s=ANSWER_S))

    async def _stop(self, queue: str) -> None:
        crew = self._admin.crew(queue)
        some = self._chance.sample(found, 1) if (found := await crew.workers()) else []
        for row in some:
            self._journal.quits(row.worker)
        self._check(await crew.order("stop", workers=some, timeout_s=ANSWER_S))

    async def _ask(self, queue: str) -> None:
        crew = self._admin.crew(queue)
        for name in ("ping", "stats", "dump"):
            self._check(await crew.order(name, workers=await crew.workers(), timeout_s=ANSWER_S))

    def _check(self, replies: list[CrewReply]) -> None:
        for reply in replies:
            if reply.status == "failed" or (reply.status == "refused" and QUITTING not in reply.error):
                self._journal.odd(f"an order: {reply}")
