"""Orders on their way through the heartbeat: carried out once, answered until the answer arrives."""

from __future__ import annotations

import time
from typing import Any

from tests.chaos.kit import until
from tests.unit.test_worker_heartbeat import NOTHING, ScriptedRedis, a_heartbeat, an_agent

from microbatch.common.errors import ConnectionFailed
from microbatch.common.orders import Order
from microbatch.common.scripts import Look

QUIET = Order("o1", "quiet", {}, "me@here")
ORDERED = Look(work_waits=False, orphans=[], dead=[], orders=(QUIET,))


class Counting:
    """A foreman that counts."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, float]] = []
        self.told: list[str] = []

    def about(self, _agent: Any) -> str:
        return "version=1"

    def answer(self, _agent: Any, order: Order, *, loop_silent_s: float) -> bytes:
        self.asked.append((order.id, loop_silent_s))
        return b"done"

    def answered(self, _agent: Any, order: Order) -> None:
        self.told.append(order.id)


class OrderingRedis(ScriptedRedis):
    """Hands an order over until it was answered; the first answers are lost."""

    def __init__(self, lost: int = 0) -> None:
        super().__init__()
        self.lost = lost
        self.answers: list[list[Any]] = []
        self.look = lambda _prefix: NOTHING if self.answers else ORDERED

    def run(self, call: Any, **options: Any) -> Any:
        if call.script.name == "acknowledge":
            if self.lost:
                self.lost -= 1
                raise ConnectionFailed("gone")
            self.answers.append(list(call.args))
        if call.script.name == "orders":
            self.calls.append(("orders", call.prefix, list(call.args)))
            return [] if self.answers else [QUIET]
        return super().run(call, **options)


async def test_an_order_is_answered_with_the_beat_that_brought_it() -> None:
    redis, foreman = OrderingRedis(), Counting()
    heartbeat = a_heartbeat(redis, an_agent("a"))
    heartbeat._foreman = foreman  # type: ignore[assignment] # a fake

    heartbeat.start()
    await until(lambda: redis.answers)
    await heartbeat.stop()

    assert redis.answers[0][:3] == ["me", "o1", b"done"]
    assert foreman.told == ["o1"]
    assert redis.calls[0][2][5] == "version=1"


async def test_after_an_order_the_next_beat_comes_at_once_and_says_what_has_changed() -> None:
    redis = OrderingRedis()
    heartbeat = a_heartbeat(redis, an_agent("a"), interval_s=600.0)
    heartbeat._foreman = Counting()  # type: ignore[assignment] # a fake

    heartbeat.start()
    await until(lambda: redis.beats("a") == 2)
    await heartbeat.stop()

    assert len(redis.answers) == 1


async def test_an_answer_that_was_lost_is_given_again_with_the_next_beat() -> None:
    redis, foreman = OrderingRedis(lost=2), Counting()
    heartbeat = a_heartbeat(redis, an_agent("a"))
    heartbeat._foreman = foreman  # type: ignore[assignment] # a fake

    heartbeat.start()
    await until(lambda: foreman.told)
    await heartbeat.stop()

    assert [order for order, _ in foreman.asked] == ["o1"] * 3
    assert len(redis.answers) == 1


async def test_whoever_is_nudged_beats_at_once_and_not_without_end() -> None:
    redis = ScriptedRedis()
    heartbeat = a_heartbeat(redis, an_agent("a"), interval_s=600.0)

    heartbeat.start()
    await until(lambda: redis.beats("a") == 1)
    began_s = time.monotonic()
    for nudges in range(1, 4):
        heartbeat.hasten()
        await until(lambda: redis.beats("a") == 1 + nudges)  # noqa: B023 - awaited at once
    took_s = time.monotonic() - began_s
    await heartbeat.stop()

    assert took_s >= 0.14  # at least 50 ms between two of them
    assert heartbeat._vitality._unbroken == 1  # beats that follow closely say no more than one


async def test_while_the_loop_is_stuck_it_is_silent_and_answers_all_the_same() -> None:
    redis, foreman = OrderingRedis(), Counting()
    redis.look = lambda _prefix: NOTHING
    heartbeat = a_heartbeat(redis, an_agent("a"))
    heartbeat._foreman = foreman  # type: ignore[assignment] # a fake
    heartbeat._vitality._loop_stall_limit_s = 0.05

    heartbeat.start()
    await until(lambda: redis.beats("a") > 1)
    ends_s = time.monotonic() + 5
    while not redis.answers and time.monotonic() < ends_s:
        time.sleep(0.01)  # noqa: ASYNC251 - blocking the loop is the point
    await heartbeat.stop()

    assert redis.answers
    assert foreman.asked[0][1] > 0.05
