"""A walk through the keys, for those that nobody would find otherwise.

Rule: it is bounded (`MOST_LOOKS` steps on each server, `MOST_RECORDS` records), so on a large server it
sees a part, and says so. What looks like an orphan is looked at twice.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from microbatch.common.jobs.states import FINAL_STATES
from microbatch.common.keys import LANES, QueueKeys
from microbatch.console.doctor.examiner import Refusal, text
from microbatch.console.doctor.facts import KeysFacts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from microbatch.console.doctor.examiner import Examiner

__all__ = ["walk_keys"]

MOST_LOOKS: Final = 200
STEP: Final = 500
MOST_RECORDS: Final = 300
_KEY: Final = re.compile(r"mb:\{([^{}]+)\}:(job|batches|aside|[\w:]+?)(?::(.*))?", re.DOTALL)
FINISHED: Final = "records of finished jobs that would stay for ever"
CARRIERLESS: Final = "records of jobs that have no entry (whoever asks for one gets JobLost)"
ASIDE: Final = "values that something else wrote over keys of ours, set aside"
ABANDONED: Final = "lists of batches whose worker is unknown"


async def walk_keys(
    examiner: Examiner, places: Iterable[str], known: set[str], names_refusal: str
) -> KeysFacts:
    """Look for orphans.

    Args:
        examiner: Asks.
        places: A key on each server.
        known: The queues that `mb:queues` names.
        names_refusal: Why they could not be read; empty where they were.

    Raises:
        ConnectionFailed: Redis stopped answering.
    """
    harvest = _Harvest()
    for place in places:
        refusal = await harvest.walk(examiner, place)
        if refusal is not None:
            return KeysFacts(refusal=refusal.words, names_refusal=names_refusal)
    orphans: dict[str, list[str]] = {ASIDE: harvest.aside} if harvest.aside else {}
    for key in harvest.records:
        what = await _orphaned_record(examiner, key)
        if what and what == await _orphaned_record(examiner, key):
            orphans.setdefault(what, []).append(key)
    for key, (queue, worker) in harvest.lists.items():
        if await _is_abandoned(examiner, QueueKeys(queue), worker):
            orphans.setdefault(ABANDONED, []).append(key)
    return KeysFacts(
        harvest.seen,
        harvest.complete,
        () if names_refusal else tuple(sorted(harvest.queues - known)),
        {what: tuple(names) for what, names in orphans.items()},
        names_refusal=names_refusal,
    )


@dataclass
class _Harvest:
    """The keys that a walk met."""

    seen: int = 0
    complete: bool = True
    queues: set[str] = field(default_factory=set)
    records: list[str] = field(default_factory=list)
    lists: dict[str, tuple[str, str]] = field(default_factory=dict)
    aside: list[str] = field(default_factory=list)

    async def walk(self, examiner: Examiner, place: str) -> Refusal | None:
        cursor = "0"
        for _ in range(MOST_LOOKS):
            reply = await examiner.ask("SCAN", cursor, "MATCH", "mb:{*", "COUNT", STEP, at=place)
            if isinstance(reply, Refusal):
                return reply
            cursor = text(reply[0])
            for key in reply[1]:
                self._take(text(key))
            if cursor == "0":
                return None
        self.complete = False
        return None

    def _take(self, key: str) -> None:
        self.seen += 1
        match = _KEY.fullmatch(key)
        if match is None:
            return
        if match[2] == "job":  # a record outlives its queue's other keys
            if len(self.records) < MOST_RECORDS:
                self.records.append(key)
            return
        self.queues.add(match[1])
        if match[2] == "aside":
            self.aside.append(key)
        if match[2] == "batches":
            self.lists[key] = (match[1], match[3] or "")


async def _orphaned_record(examiner: Examiner, key: str) -> str | None:
    ttl_ms: Any = await examiner.ask("PTTL", key)
    fields: Any = await examiner.ask("HMGET", key, "state", "entry")
    if isinstance(ttl_ms, Refusal) or isinstance(fields, Refusal) or fields[0] is None:
        return None
    state, token = text(fields[0]), text(fields[1] or b"")
    if state in FINAL_STATES:
        return FINISHED if ttl_ms == -1 else None
    prefix, _, local = key.partition("job:")
    if state == "scheduled":
        return CARRIERLESS if await examiner.ask("ZSCORE", f"{prefix}scheduled", local) is None else None
    lane, _, entry_id = token.partition(":")
    if lane in LANES and re.fullmatch(r"\d+-\d+", entry_id):
        found = await examiner.ask("XRANGE", f"{prefix}lane:{lane}", entry_id, entry_id)
        return CARRIERLESS if found == [] else None
    return CARRIERLESS


async def _is_abandoned(examiner: Examiner, keys: QueueKeys, worker: str) -> bool:
    if await examiner.ask("ZSCORE", keys.workers, worker) is not None:
        return False
    for lane in LANES:
        key = keys.lane(lane)
        consumers: Any = await examiner.ask("XINFO", "CONSUMERS", key, "workers", at=key)
        if isinstance(consumers, Refusal):
            continue
        if any(text(consumer[1]) == worker for consumer in consumers):
            return False  # told by `check_workers`
    return not isinstance(await examiner.ask("EXISTS", keys.batches(worker)), Refusal)
