"""Unique keys on a random walk: whatever becomes of jobs, a key has one holder, and is free in time."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from tests.conformance.bench import Bench, job

from microbatch.common.scripts import Claimed, SubmitCode

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

STEPS = 120
KEYS = ("k1", "k2", "k3")
LONG_MS = 600_000


@dataclass
class Walker:
    """A queue, and what should be true of it: by job, whether it is `alive`, `succeeded` or `gone`."""

    bench: Bench
    chance: random.Random
    fates: dict[str, str] = field(default_factory=dict)
    holders: dict[str, tuple[str, bool]] = field(default_factory=dict)
    batches: int = 0
    answers: set[str] = field(default_factory=set)

    async def submit(self) -> None:
        key, local = self.chance.choice(KEYS), f"j{len(self.fates)}"
        keeps = self.chance.random() < 0.5
        delayed = self.chance.random() < 0.3
        new = job(
            local,
            unique=key,
            unique_for_ms=LONG_MS if keeps else None,
            delay_ms=LONG_MS if delayed else None,
        )
        reply = await self.bench.submit(new)
        holder, kept = self.holders.get(key, ("", False))
        fate = self.fates.get(holder, "gone")
        if fate == "alive" or (fate == "succeeded" and kept):
            assert reply.codes == [SubmitCode.TAKEN], (key, holder, fate)
            assert reply.firsts == {0: holder}
            self.answers.add(f"taken by {fate}")
        else:
            assert reply.codes is None, (key, holder, fate)
            self.fates[local] = "alive"
            self.holders[key] = (local, keeps)
            self.answers.add(f"free after {fate}")

    def alive(self) -> list[str]:
        return [local for local, fate in self.fates.items() if fate == "alive"]

    async def cancel(self) -> None:
        if alive := self.alive():
            local = self.chance.choice(alive)
            assert await self.bench.cancel(local) == "cancelled"
            self.fates[local] = "gone"

    async def lose(self) -> None:
        """Somebody deletes what carries a job."""
        if alive := self.alive():
            local = self.chance.choice(alive)
            token = (await self.bench.record(local))["entry"].decode()
            lane, _, entry_id = token.partition(":")
            if token == "scheduled":  # noqa: S105 - the name of a place
                await self.bench.raw.zrem(self.bench.keys.scheduled, local)
            else:
                await self.bench.raw.xdel(self.bench.keys.lane(lane), entry_id)
            self.fates[local] = "gone"

    async def due(self) -> None:
        waiting = await self.bench.raw.zrange(self.bench.keys.scheduled, 0, -1)
        if waiting:
            await self.bench.make_due(*(local.decode() for local in waiting))

    async def work(self) -> None:
        """A worker takes what there is; it succeeds, fails, is to be repeated, or the worker dies."""
        self.batches += 1
        batch = f"b{self.batches}"
        claimed = await self.bench.claim(batch)
        if not isinstance(claimed, Claimed):
            return
        ending = self.chance.choice(("succeed", "fail", "retry", "die"))
        ours = [entry for entry in claimed.entries if self.fates[entry.local] == "alive"]
        if ending == "die":
            await self.bench.die("w1")
            await self.bench.takeover("w1", max_crashes=1_000)
        elif ending == "retry":
            await self.bench.retry(batch, claimed.entries, delay_ms=LONG_MS)
        else:
            await self.bench.settle(batch, claimed.entries, succeeded=ending == "succeed")
            for entry in ours:
                self.fates[entry.local] = "succeeded" if ending == "succeed" else "gone"


@pytest.mark.parametrize("seed", [0, 1, 3, 4, 5])  # each of them meets every kind of answer
async def test_a_key_is_taken_exactly_while_its_holder_says_so(bench: Bench, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - a test's steps
    walker = Walker(bench, chance)
    steps: list[Callable[[], Awaitable[None]]] = [
        *(walker.submit for _ in range(4)),
        *(walker.work, walker.work, walker.cancel, walker.lose, walker.due),
    ]
    for _ in range(STEPS):
        await chance.choice(steps)()
    assert walker.answers == {
        "taken by alive",
        "taken by succeeded",
        "free after succeeded",
        "free after gone",
    }
    assert await bench.raw.hlen(bench.keys.unique) <= len(KEYS)
