"""A look at one queue: its lanes, who holds what, who beats, and whether its keys are ours.

Rule: many small reads, each of one moment; what a job did between two of them must not look like damage, so
what seems wrong is looked at twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from microbatch.common.keys import GROUP, LANES, QueueKeys
from microbatch.common.scripts import queue_status, redis_time
from microbatch.common.scripts.hold import OPEN
from microbatch.console.doctor.examiner import Refusal, pairs, text
from microbatch.console.doctor.facts import LaneFacts, QueueFacts

if TYPE_CHECKING:
    from microbatch.common.scripts import QueueGate
    from microbatch.console.doctor.examiner import Examiner

__all__ = ["TYPES", "look_at_queue"]

TYPES: Final = {
    "lane:main": "stream",
    "lane:front": "stream",
    "lane:solo": "stream",
    "settings": "hash",
    "workers": "zset",
    "idle": "zset",
    "lost": "hash",
    "watcher": "string",
    "tombstones": "set",
    "scheduled": "zset",
    "dead": "stream",
    "recent": "stream",
    "counters": "hash",
    "watchers": "hash",
    "listeners": "hash",
    "unique": "hash",
    "schedules": "zset",
    "lanes": "zset",
    "forming": "zset",
    "held": "zset",
    "ageing": "zset",
    "aged": "zset",
    "ranks": "zset",
    "ready:aged": "zset",
    "side": "hash",
    "limits": "hash",
}
"""The type of each key that a queue has once."""
PENDING_LOOKED_AT: Final = 500


async def look_at_queue(
    examiner: Examiner, name: str, *, known: bool, heartbeat_limit_s: float
) -> QueueFacts:
    """What one queue looks like.

    Args:
        examiner: Asks.
        name: The queue.
        known: Whether `mb:queues` names it.
        heartbeat_limit_s: After which silence a worker does not count.

    Raises:
        ConnectionFailed: Redis stopped answering.
    """
    keys = QueueKeys(name)
    refusals: dict[str, str] = {}
    foreign, exists = [], False
    for suffix, wanted in TYPES.items():
        reply = await examiner.ask("TYPE", keys.prefix + suffix)
        if isinstance(reply, Refusal):
            refusals["the type of its keys"] = reply.words
            continue
        found = text(reply)
        exists |= found != "none"
        if found not in ("none", wanted):
            foreign.append((keys.prefix + suffix, found, wanted))
    broken = {key for key, _, _ in foreign}
    status = await examiner.run(queue_status(keys, heartbeat_limit_ms=round(heartbeat_limit_s * 1000)))
    if isinstance(status, Refusal) and not foreign:
        refusals["its status"] = status.words
    ages: dict[str, dict[str, float]] = {}
    for key, what in ((keys.workers, "who beats"), (keys.schedules, "its schedules")):
        ages[key] = {} if key in broken else await _ages(examiner, keys, key, what, refusals)
    lanes = {
        lane: await _look_at_lane(examiner, keys, lane, refusals)
        for lane in LANES
        if keys.lane(lane) not in broken
    }
    seen = None if isinstance(status, Refusal) else status
    return QueueFacts(
        name,
        known=known,
        exists=exists or known or bool(refusals),
        waiting=None if seen is None else seen.waiting,
        oldest_age_s=None if seen is None else seen.oldest_age_s,
        beats_age_s=ages[keys.workers],
        lanes=lanes,
        foreign=tuple(foreign),
        schedules_wait_s={name: age_s for name, age_s in ages[keys.schedules].items() if age_s > 0},
        refusals=refusals,
        held={} if seen is None else await _held(examiner, keys, seen.gate),
    )


async def _held(examiner: Examiner, keys: QueueKeys, gate: QueueGate) -> dict[str, tuple[float, str]]:
    """Who holds the queue up, and for how long."""
    if gate == OPEN:
        return {}
    now_ms = await examiner.run(redis_time(keys))
    if isinstance(now_ms, Refusal):
        return {}
    return {
        what: (max(0.0, now_ms / 1000 - held.since.timestamp()), held.who)
        for what, held in (("paused", gate.paused), ("draining", gate.draining))
        if held is not None
    }


async def _ages(
    examiner: Examiner, keys: QueueKeys, key: str, what: str, refusals: dict[str, str]
) -> dict[str, float]:
    """How long ago the moment of each member of a sorted set was, in seconds; 0 where it is to come."""
    reply = await examiner.ask("ZRANGE", key, 0, -1, "WITHSCORES")
    now_ms = await examiner.run(redis_time(keys))
    if isinstance(reply, Refusal):
        refusals[what] = reply.words
        return {}
    if isinstance(now_ms, Refusal):
        refusals[what] = now_ms.words
        return {}
    return {member: max(0.0, (now_ms - float(moment)) / 1000) for member, moment in pairs(reply).items()}


async def _look_at_lane(
    examiner: Examiner, keys: QueueKeys, lane: str, refusals: dict[str, str]
) -> LaneFacts:
    key = keys.lane(lane)
    length = await examiner.ask("XLEN", key)
    if isinstance(length, Refusal):
        refusals[f"lane {lane}"] = length.words
        return LaneFacts()
    groups = await examiner.ask("XINFO", "GROUPS", key, at=key)
    if isinstance(groups, Refusal):
        if "no such key" not in groups.words:
            refusals[f"the group of lane {lane}"] = groups.words
        return LaneFacts(length, has_group=length == 0)
    ours = [facts for facts in map(pairs, groups) if text(facts["name"]) == GROUP]
    if not ours:
        return LaneFacts(length)
    lag_known = ours[0].get("lag") is not None
    consumers = await examiner.ask("XINFO", "CONSUMERS", key, GROUP, at=key)
    if isinstance(consumers, Refusal):
        refusals[f"the consumers of lane {lane}"] = consumers.words
        return LaneFacts(length, has_group=True, lag_known=lag_known)
    pending = {text(facts["name"]): int(facts["pending"]) for facts in map(pairs, consumers)}
    unlisted = await _unlisted(examiner, keys, lane)
    return LaneFacts(length, has_group=True, lag_known=lag_known, pending=pending, unlisted=unlisted)


async def _unlisted(examiner: Examiner, keys: QueueKeys, lane: str) -> dict[str, int]:
    """Pending entries that no batch names, by consumer."""
    suspects = await _suspects(examiner, keys, lane)
    if suspects:  # a batch that was settled between two reads looks the same, but only once
        suspects &= await _suspects(examiner, keys, lane)
    counts: dict[str, int] = {}
    for consumer, _ in suspects:
        counts[consumer] = counts.get(consumer, 0) + 1
    return counts


async def _suspects(examiner: Examiner, keys: QueueKeys, lane: str) -> set[tuple[str, str]]:
    rows: Any = await examiner.ask("XPENDING", keys.lane(lane), GROUP, "-", "+", PENDING_LOOKED_AT)
    if isinstance(rows, Refusal):
        return set()
    held = {(text(row[1]), f"{lane}:{text(row[0])}") for row in rows}
    for consumer in {consumer for consumer, _ in held}:
        batches = await examiner.ask("HGETALL", keys.batches(consumer))
        if isinstance(batches, Refusal):
            return set()
        for batch in pairs(batches).values():
            held -= {(consumer, token) for token in text(batch).split()}
    return held
