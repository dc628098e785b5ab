"""What an operator does away with, and what he has done regularly: purges, and a schedule of his own.

Rule: every order is written down with its answer, because jobs, letters and ticks are judged by that: before
it is given, and once it is answered. One that is not answered is not repeated; the next order shows how
things are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.chaos.letters import ALL, PURGE_LETTERS
from tests.chaos.purges import PURGE
from tests.chaos.run.workload import ROTA, ROTA_EVERY_MS, ROTA_NAME, ROTA_QUEUE

from microbatch.common.keys import QueueKeys
from microbatch.common.schedules.schedule import Schedule
from microbatch.producer import QueueDraining, QueueFull

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable

    from tests.chaos.run.journal import Journal

    from microbatch.console.admin import Admin

__all__ = ["RUN_NOW", "Clerk"]

RUN_NOW, REFUSED, NONE = "cron run-now", "refused", "none"
SEEN = 30
MOST_LETTERS = 3
EVERY_LETTER = 0.2
"""How likely it is that a purge of dead letters means all of them."""
_ROTAS = tuple(
    Schedule(
        ROTA_NAME,
        queue=ROTA_QUEUE,
        every_s=ROTA_EVERY_MS / 1000,
        payload=ROTA,
        missed="run_all",
        max_missed=most,
    )
    for most in (1000, 999)
)
"""The same ticks, declared in two ways: the second one replaces the first."""


class Clerk:
    """Gives orders, and keeps the book of them.

    Args:
        admin: Open.
        chance: Makes all choices.
        journal: The book.
        wait: Returns after a while, or when the operator has to come to an end.
    """

    def __init__(
        self, admin: Admin, chance: random.Random, journal: Journal, wait: Callable[[], Awaitable[None]]
    ) -> None:
        self._admin = admin
        self._chance = chance
        self._journal = journal
        self._wait = wait

    async def purge(self, queue: str) -> None:
        """Cancel all that waits in a queue."""
        self._journal.asked(PURGE, queue)
        count = sum([step async for step in self._admin.control(queue).purge()])
        self._journal.answered(str(count))

    async def purge_letters(self, queue: str) -> None:
        """Delete some of the newest dead letters, or all that there are."""
        letters = self._admin.dead_letters(queue)
        if self._chance.random() < EVERY_LETTER:
            self._journal.asked(PURGE_LETTERS, queue, ALL)
            count = sum([step async for step in letters.purge_all()])
        else:
            found = [letter for letter in await letters.newest(SEEN) if letter.job_id is not None]
            some = self._chance.sample(found, min(len(found), MOST_LETTERS))
            if not some:
                return
            words = [f"{letter.letter_id}={letter.job_id}" for letter in some]
            self._journal.asked(PURGE_LETTERS, queue, *words)
            count = await letters.purge([letter.letter_id for letter in some])
        self._journal.answered(str(count))

    # --- the schedule ------------------------------------------------------------------------------

    async def let_it_go_on(self) -> None:
        """The schedule is there and is not paused: an earlier life may have ended half-way."""
        await self.add()
        await self._change("resume")

    async def add(self, _queue: str = "") -> None:
        """Declare it, or declare it otherwise."""
        await self._ask("add")
        definition = self._chance.choice(_ROTAS)
        self._journal.answered(await self._admin.schedules(ROTA_QUEUE).put(definition))

    async def pause(self, _queue: str) -> None:
        """Pause it for a while."""
        await self._change("pause")
        await self._wait()
        await self._change("resume")

    async def remove(self, _queue: str) -> None:
        """Do without it for a while."""
        await self._change("remove")
        await self._wait()
        await self.add()

    async def run_now(self, _queue: str) -> None:
        """One job more."""
        self._journal.asked(RUN_NOW, ROTA_NAME)
        try:
            job = await self._admin.schedules(ROTA_QUEUE).run_now(ROTA_NAME)
        except (QueueFull, QueueDraining):
            self._journal.answered(REFUSED)
        else:
            self._journal.answered(job or NONE)

    async def _change(self, action: str) -> None:
        schedules = self._admin.schedules(ROTA_QUEUE)
        change = {"pause": schedules.pause, "resume": schedules.resume, "remove": schedules.remove}[action]
        await self._ask(action)
        self._journal.answered(str(await change(ROTA_NAME)))

    async def _ask(self, action: str) -> None:
        connection = self._admin._connection
        assert connection is not None
        seen_ms = await connection.execute("HGET", QueueKeys(ROTA_QUEUE).schedule(ROTA_NAME), "last_ms")
        self._journal.asked(f"cron {action}", ROTA_NAME, *([seen_ms.decode()] if seen_ms else []))
