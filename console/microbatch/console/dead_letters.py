"""The dead letters of one queue: look at them, run them again, delete them.

Rule: every walk is paged, newest first, over letters that were there when it began: a job that fails again
meanwhile is not redriven a second time. Each letter is redriven in one step by the script, so a walk that is
cut off can simply be begun again.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from microbatch.common import scripts
from microbatch.common.identifiers import check_queue, job_id
from microbatch.common.jobs.dead_letter import DeadLetter, parse_letter
from microbatch.common.keys import QueueKeys

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence

    from microbatch.common.connection import Connection
    from microbatch.common.scripts import RedriveCode
    from microbatch.common.seals import Seals

__all__ = ["DeadLetters", "Redriven"]

PAGE = 256
_LETTER_ID = re.compile(r"[0-9]{1,20}-[0-9]{1,20}\Z")


class Redriven(NamedTuple):
    """What became of one letter that was to be redriven."""

    letter_id: str
    code: RedriveCode


class DeadLetters:
    """The dead letters of one queue.

    Args:
        connection: Where they are.
        queue: The queue's name.
        seals: Open payloads; None: there are no keys, and sealed ones cannot be shown.

    Raises:
        ValueError: Not a valid queue name.
    """

    def __init__(self, connection: Connection, queue: str, seals: Seals | None = None) -> None:
        self._seals = seals
        self._connection = connection
        self._keys = QueueKeys(check_queue(queue))

    async def pages(self) -> AsyncIterator[list[DeadLetter]]:
        """All letters, the newest first, up to 256 at a time."""
        newest = "+"
        while True:
            call = scripts.dead_letters(self._keys, newest=newest, count=PAGE)
            page = await self._connection.run(call)
            if not page:
                return
            yield [parse_letter(self._keys.queue, letter, self._seals) for letter in page]
            newest = f"({page[-1].letter_id}"

    async def newest(self, limit: int) -> list[DeadLetter]:
        """The newest letters, at most `limit`."""
        found: list[DeadLetter] = []
        async for page in self.pages():
            found += page[: limit - len(found)]
            if len(found) >= limit:
                break
        return found

    async def find(self, name: str) -> DeadLetter | None:
        """A letter by its own id, or the newest one of a job by the job's id (full, or its second half).

        A job's letter is looked for among all of them, page by page.
        """
        if _LETTER_ID.match(name):
            page = await self._connection.run(scripts.dead_letters(self._keys, newest=name, count=1))
            found = [letter for letter in page if letter.letter_id == name]
            return parse_letter(self._keys.queue, found[0], self._seals) if found else None
        of_job = await self.of_jobs({self._full(name)})
        return next(iter(of_job.values()), None)

    async def resolve(self, names: Sequence[str]) -> tuple[list[str], list[str]]:
        """The ids of the letters that are named as in `find`, and the names that fit none."""
        wanted = {self._full(name) for name in names if not _LETTER_ID.match(name)}
        found = await self.of_jobs(wanted) if wanted else {}
        ids: dict[str, None] = {}
        missing: list[str] = []
        for name in names:
            if _LETTER_ID.match(name):
                ids[name] = None
            elif letter := found.get(self._full(name)):
                ids[letter.letter_id] = None
            else:
                missing.append(name)
        return list(ids), missing

    async def of_jobs(self, wanted: Iterable[str]) -> dict[str, DeadLetter]:
        """The newest letter of each of these jobs, by the full ids; looked for page by page."""
        left, found = set(wanted), {}
        async for page in self.pages():
            for letter in page:
                if letter.job_id in left:
                    left.discard(letter.job_id)
                    found[letter.job_id] = letter
            if not left:
                break
        return found

    async def redrive(self, letter_ids: Sequence[str]) -> AsyncIterator[list[Redriven]]:
        """Give these letters' jobs another run, up to 256 at a time."""
        for start in range(0, len(letter_ids), PAGE):
            chunk = letter_ids[start : start + PAGE]
            codes = await self._connection.run(scripts.redrive(self._keys, chunk))
            yield [Redriven(*pair) for pair in zip(chunk, codes, strict=True)]

    async def redrive_all(self) -> AsyncIterator[list[Redriven]]:
        """Give the jobs of all letters another run, the oldest of each page first."""
        async for page in self.pages():
            async for done in self.redrive([letter.letter_id for letter in reversed(page)]):
                yield done

    async def purge(self, letter_ids: Sequence[str]) -> int:
        """Delete these letters; how many there were."""
        deleted = 0
        for start in range(0, len(letter_ids), PAGE):
            chunk = letter_ids[start : start + PAGE]
            deleted += await self._connection.run(scripts.purge_dead(self._keys, chunk))
        return deleted

    async def purge_all(self) -> AsyncIterator[int]:
        """Delete all letters, the oldest first; the numbers that went, step by step."""
        while deleted := await self._connection.run(scripts.purge_dead(self._keys)):
            yield deleted

    def _full(self, name: str) -> str:
        return name if "/" in name else job_id(self._keys.queue, name)
