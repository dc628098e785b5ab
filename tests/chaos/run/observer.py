"""Looks on without taking part: what is announced, whether a queue is quiet, what the records say.

Rule: it talks to the server itself and passes no link. It may miss announcements (its connection is killed
like any other), which hides nothing: what is announced twice while it listens is heard twice.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError
from tests.chaos.history import Outcome, What
from tests.chaos.run.workload import QUEUES

from microbatch.common.codec import decode, unpacker
from microbatch.common.jobs.happenings import batch_of, parse_happening
from microbatch.common.jobs.states import FINAL_STATES
from microbatch.common.keys import LANES, QueueKeys
from microbatch.common.netstrings import read_netstrings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.chaos.run.journal import Journal

__all__ = ["Move", "Observer", "Record"]

RETRY_S = 0.02
CHUNK = 500


@dataclass(frozen=True, slots=True)
class Move:
    """What a job's history says: it was promoted, retried, handed back or taken over, after which attempt."""

    event: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Record:
    """What a job's record says in the end; times by Redis's clock, `accepted_s` is 0 where it says none.

    Attributes:
        outcome: Of the last run.
        ended_s: When that ended.
        accepted_s: When the job was accepted.
        past: The outcome and the end of each run before the last one.
        claimed_s: When the batch was claimed in which it ran last; 0 where it says none.
        moves: Its history since it was submitted, or redriven.
    """

    outcome: Outcome
    ended_s: float
    accepted_s: float = 0.0
    past: tuple[tuple[Outcome, float], ...] = ()
    claimed_s: float = 0.0
    moves: tuple[Move, ...] = ()


class Observer:
    """One pair of eyes."""

    def __init__(self, admin: Any, journal: Journal) -> None:
        self._admin = admin
        self._journal = journal

    async def listen(self) -> None:
        """Note every announcement, until cancelled."""
        while True:
            pubsub = self._admin.pubsub()
            try:
                await pubsub.psubscribe(*(QueueKeys(queue).reply_channel("*") for queue in QUEUES))
                while True:
                    message = await pubsub.get_message(ignore_subscribe_messages=True, timeout=1.0)
                    if message is not None:
                        self._hear(message["channel"].decode(), message["data"])
            except (RedisError, OSError):
                await asyncio.sleep(RETRY_S)
            finally:
                await pubsub.aclose()

    def _hear(self, channel: str, data: bytes) -> None:
        queue = channel.split("{", 1)[1].split("}", 1)[0]
        parts = unpacker(len(data))
        parts.feed(data)
        for local, state, value in parts:
            self._journal.note(What.TOLD, f"{queue}/{local}", outcome_of(state, value), by=channel)

    async def is_quiet(self) -> bool:
        """Whether no queue holds a job that is not final."""
        for queue in QUEUES:
            keys = QueueKeys(queue)
            if await self._admin.exists(
                *(keys.batches(name) for name in await self._workers(keys)), keys.scheduled, keys.lanes
            ):
                return False
            for lane in LANES:
                if await self._admin.xlen(keys.lane(lane)):
                    return False
        return True

    async def _workers(self, keys: QueueKeys) -> list[str]:
        return [name.decode() for name in await self._admin.zrange(keys.workers, 0, -1)]

    async def records(self, job_ids: Iterable[str]) -> dict[str, Record]:
        """The record of each of these jobs that is final."""
        found = {}
        for chunk in _chunks(list(job_ids)):
            async with self._admin.pipeline(transaction=False) as pipeline:
                for job_id in chunk:
                    queue, _, local = job_id.partition("/")
                    pipeline.hgetall(QueueKeys(queue).job(local))
                for job_id, fields in zip(chunk, await pipeline.execute(), strict=True):
                    if fields and fields[b"state"].decode() in FINAL_STATES:
                        found[job_id] = _record(fields)
        return found

    async def letters(self) -> dict[str, list[str]]:
        """The ids of each job's dead letters."""
        found: dict[str, list[str]] = defaultdict(list)
        for queue in QUEUES:
            for letter, fields in await self._admin.xrange(QueueKeys(queue).dead):
                found[f"{queue}/{fields.get(b'id', b'').decode()}"].append(letter.decode())
        return found


def _record(fields: dict[bytes, bytes]) -> Record:
    value = fields.get(b"result", fields.get(b"error"))
    outcome = outcome_of(fields[b"state"].decode(), decode(value) if value else None)
    past = []
    for run in range(1, int(fields.get(b"run", b"1"))):
        state, finished_ms, _, error = read_netstrings(fields[b"past_%d" % run])
        past.append((outcome_of(state.decode(), decode(error)), int(finished_ms) / 1000))
    told = [parse_happening(packed) for packed in read_netstrings(fields.get(b"history", b""))]
    return Record(
        outcome,
        int(fields[b"finished_ms"]) / 1000,
        int(fields.get(b"enqueued_ms", 0)) / 1000,
        tuple(past),
        batch.started_ms / 1000 if (batch := batch_of(fields)) else 0.0,
        tuple(Move(each.event, each.attempt) for each in told if each.event != "redriven"),
    )


def outcome_of(state: str, value: Any) -> Outcome:
    """As clients see it."""
    if state == "succeeded":
        return Outcome(state, value)
    return Outcome(state, value["type"] if state == "failed" else None)


def _chunks(items: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(items), CHUNK):
        yield items[start : start + CHUNK]
