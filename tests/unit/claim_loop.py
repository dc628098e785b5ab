"""A claim loop with its parts, and a Redis whose answers are written down beforehand."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.chaos.kit import make_entry

from microbatch.common.scripts import Claimed, Idle
from microbatch.common.settings import WorkerSettings, queue_settings
from microbatch.worker.bell import Bell
from microbatch.worker.claimer import Claimer
from microbatch.worker.isolation import Isolation
from microbatch.worker.ledger import Ledger
from microbatch.worker.pacing import FixedPacing

__all__ = ["Loop", "ScriptedRedis", "a_batch"]


class ScriptedRedis:
    """Answers claims from a list, then `idle`; remembers what was called."""

    def __init__(self) -> None:
        self.answers: list[Any] = []
        self.forever: Any = Idle()
        self.claims: list[str] = []
        self.spares: list[bool] = []  # whether the claims said that there was another slot
        self.offers: list[tuple[str, ...]] = []  # the ids that they offered
        self.asides = 0

    async def run(self, call: Any) -> Any:
        await asyncio.sleep(0)
        if call.script.name == "step_aside":
            self.asides += 1
            return 0
        self.claims.append(call.args[1])
        self.spares.append(call.args[5] != "")
        self.offers.append(tuple(filter(None, (call.args[1], call.args[5]))) if call.args[6] else ())
        answer = self.answers.pop(0) if self.answers else self.forever
        if callable(answer):
            answer = answer()
        if isinstance(answer, BaseException):
            raise answer
        return answer


class Loop:
    """A claimer with its parts, running."""

    def __init__(self, redis: ScriptedRedis, slots: int, **settings_said: Any) -> None:
        self.redis = redis
        self.bell = Bell()
        self.ledger = Ledger(slots, self.bell.ring, Isolation())
        self.begun: list[str] = []
        settings = queue_settings("q", settings=WorkerSettings(**settings_said))
        self.claimer = Claimer(redis, "me", FixedPacing(settings), self.ledger, self.bell, self._begin)  # type: ignore[arg-type] # a fake
        self.task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self.task = asyncio.create_task(self.claimer.run())

    def _begin(self, batch_id: str, _claimed: Claimed) -> None:
        self.begun.append(batch_id)
        self.ledger.enter(batch_id, asyncio.create_task(asyncio.Event().wait()))  # type: ignore[arg-type] # any task

    async def leave(self) -> None:
        self.claimer.leave()
        if self.task is not None:
            await asyncio.wait_for(self.task, 30)
        for task in self.ledger.tasks().values():
            task.cancel()


def a_batch(*, newer: bool = False, last: bool = False) -> Claimed:
    entry = make_entry("a")
    entry.newer = newer
    return Claimed("size", 1, [entry], 1, last)
