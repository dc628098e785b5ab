"""Watching jobs: one to its end, or all of a queue as long as somebody likes.

Rule: who watches one job is told the truth, read from its record; a message, and a timer, only say when to
read. So nothing but time is lost with a message, and the last update is always the final one. Who watches a
whole queue gets the messages themselves, which may be lost.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from microbatch.common.errors import ConnectionFailed, ProtocolError, ResultNotFound
from microbatch.common.identifiers import job_id
from microbatch.common.jobs.happenings import parse_happening
from microbatch.common.jobs.states import JobState
from microbatch.common.jobs.update import JobUpdate
from microbatch.common.netstrings import read_netstrings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from microbatch.common.jobs.status import JobStatus
    from microbatch.common.jobs.update import LogLine, Progress
    from microbatch.common.keys import QueueKeys
    from microbatch.producer.newsroom import Ear, Newsroom
    from microbatch.producer.ticket import Ticket

__all__ = ["feed", "follow", "last_word", "parse_message"]

log = logging.getLogger("microbatch.producer")
LOOK_EVERY_S = 2.0


async def follow(ticket: Ticket) -> AsyncIterator[JobUpdate]:
    """Where a job is, and then everything that happens to it, up to its end.

    Raises:
        ResultNotFound: There is no such job, or its record went without a word.
        MicrobatchError: As from `Newsroom.ear` and `RecordReader.status`.
    """
    mailbox = ticket.mailbox
    records, keys = mailbox.hearing.records, mailbox.keys
    told = _Told(ticket.id)
    last: JobUpdate | None = None
    async with mailbox.hearing.newsroom.ear(keys, ticket.local) as ear:
        while True:
            try:
                status = await records.status(ticket)
                lines = await records.logs(ticket, told.lines) if status.log_lines > told.lines else []
            except ResultNotFound:
                # A record that is not kept goes with the job's end, and a message tells that.
                last = await last_word(keys, ear) if told.began and last is None else last
                if last is None:
                    raise
                yield last
                return
            except ConnectionFailed as error:
                log.debug("job %s cannot be looked at: %s", ticket.id, error)
            else:
                for update in told.news(status, lines):
                    yield update
                if status.state.is_final:
                    return
            last = _ending(keys, await ear.wait(LOOK_EVERY_S)) or last


async def feed(newsroom: Newsroom, keys: QueueKeys) -> AsyncIterator[JobUpdate]:
    """Everything that happens to the jobs of a queue from now on; errors as from `Newsroom.ear`."""
    missed = 0
    async with newsroom.ear(keys) as ear:
        while True:
            for message in await ear.wait():
                for update in parse_message(keys.queue, message):
                    yield update
            if ear.missed > missed:
                log.warning("queue %s: %d messages came faster than they were taken", keys.queue, ear.missed)
                missed = ear.missed


async def last_word(keys: QueueKeys, ear: Ear) -> JobUpdate | None:
    """The end of a job whose record is gone: messages of what came before it may have to be heard first."""
    now_s = asyncio.get_running_loop().time
    ends_s = now_s() + LOOK_EVERY_S
    while (left_s := ends_s - now_s()) > 0:
        if end := _ending(keys, await ear.wait(left_s)):
            return end
    return None


def _ending(keys: QueueKeys, messages: Sequence[bytes]) -> JobUpdate | None:
    """The last end of a job of which messages tell."""
    updates = [update for message in messages for update in parse_message(keys.queue, message)]
    return next((update for update in reversed(updates) if update.state.is_final), None)


def parse_message(queue: str, message: bytes) -> list[JobUpdate]:
    """The events in a message; what is not ours, or of a later version, is passed over."""
    try:
        parts = read_netstrings(message)
        pairs = [(parts[i].decode(), parse_happening(parts[i + 1])) for i in range(0, len(parts) - 1, 2)]
        return [event.update(job_id(queue, local)) for local, event in pairs if event.is_known]
    except (ProtocolError, UnicodeDecodeError) as error:
        log.debug("queue %s: ignored what is no event: %s", queue, error)
        return []


class _Told:
    """What a listener knows of one job."""

    def __init__(self, full_id: str) -> None:
        self._id = full_id
        self._steps: set[tuple[object, ...]] | None = None
        self._progress: Progress | None = None
        self.lines = 0

    @property
    def began(self) -> bool:
        """Whether its record was there once."""
        return self._steps is not None

    def news(self, status: JobStatus, lines: Sequence[LogLine]) -> Iterator[JobUpdate]:
        """What is new; the job's end comes last."""
        steps = list(status.timeline)
        if self._steps is None:
            self._steps = {_key(step) for step in steps[:-1]}
        fresh = [step for step in steps if _key(step) not in self._steps]
        self._steps |= {_key(step) for step in fresh}
        end = fresh.pop() if fresh and fresh[-1].state.is_final else None
        yield from fresh
        if status.progress is not None and status.progress != self._progress:
            self._progress = status.progress
            yield self._about("progress", status, progress=status.progress)
        for line in lines:
            self.lines = line.number
            yield self._about("log", status, line=line)
        if end is not None:
            yield end

    def _about(
        self, event: str, status: JobStatus, progress: Progress | None = None, line: LogLine | None = None
    ) -> JobUpdate:
        said = progress or line
        return JobUpdate(
            self._id,
            event,
            JobState.RUNNING,
            said.at if said else None,
            said.attempt if said else 0,
            status.worker,
            status.batch_id,
            progress=progress,
            line=line,
        )


def _key(step: JobUpdate) -> tuple[object, ...]:
    return step.event, step.at, step.batch_id
