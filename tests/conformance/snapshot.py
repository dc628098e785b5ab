"""The whole queue at one moment, read in one round trip."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from microbatch.common.keys import GROUP, LANES

if TYPE_CHECKING:
    from collections.abc import Collection

    from microbatch.common.keys import QueueKeys

__all__ = ["Snapshot"]

MOST = 1_000


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What Redis holds of a queue.

    Attributes:
        entries: Local id by token, over all lanes.
        pending: Consumer by token of what was delivered.
        tombstones: Tokens of cancelled entries that were not delivered.
        scheduled: Local ids.
        letters: Local ids, the oldest letter first.
        records: By local id.
        listed: The batches that each worker holds.
        side: The side lanes, by name: how many entries each has.
    """

    entries: dict[str, str]
    pending: dict[str, str]
    tombstones: set[str]
    scheduled: set[str]
    letters: list[str]
    records: dict[str, dict[bytes, bytes]]
    listed: dict[str, set[str]]
    side: dict[str, int]

    @classmethod
    def take(cls, raw: Any, keys: QueueKeys, locals_: Collection[str], workers: Collection[str]) -> Snapshot:
        """Read it."""
        pipe = raw.pipeline(transaction=False)
        lanes = [*LANES, *(lane.decode() for lane in raw.zrange(keys.lanes, 0, -1))]
        for lane in lanes:
            pipe.xrange(keys.lane(lane))
            pipe.xpending_range(keys.lane(lane), GROUP, "-", "+", MOST)
        pipe.smembers(keys.tombstones)
        pipe.zrange(keys.scheduled, 0, -1)
        pipe.xrange(keys.dead)
        for local in locals_:
            pipe.hgetall(keys.job(local))
        for worker in workers:
            pipe.hkeys(keys.batches(worker))
        found = iter(pipe.execute(raise_on_error=False))
        entries, pending = {}, {}
        side = {}
        for lane in lanes:
            for entry_id, fields in next(found):
                entries[f"{lane}:{entry_id.decode()}"] = fields[b"id"].decode()
            side[lane] = sum(token.startswith(f"{lane}:") for token in entries)
            rows = next(found)
            for row in [] if isinstance(rows, Exception) else rows:  # no such group
                pending[f"{lane}:{row['message_id'].decode()}"] = row["consumer"].decode()
        return cls(
            entries,
            pending,
            {token.decode() for token in next(found)},
            {local.decode() for local in next(found)},
            [fields.get(b"id", b"").decode() for _, fields in next(found)],
            {local: next(found) for local in locals_},
            {worker: {name.decode() for name in next(found)} for worker in workers},
            {lane: count for lane, count in side.items() if lane not in LANES},
        )

    @property
    def stale_tombstones(self) -> set[str]:
        """Those whose entry somebody deleted; they count as cancelled entries until the lanes are empty."""
        return self.tombstones - (set(self.entries) - set(self.pending))
