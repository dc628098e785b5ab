"""The claim loop against a scripted Redis: it never ends by accident, never spins, never claims too much."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from tests.chaos.kit import until
from tests.unit.claim_loop import Loop, ScriptedRedis, a_batch

from microbatch.common.errors import AuthenticationFailed, ConnectionFailed, ServerFull
from microbatch.common.scripts import Idle, Watch
from microbatch.worker import claimer as claimer_module

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
def redis() -> ScriptedRedis:
    return ScriptedRedis()


@pytest.fixture
async def loop(redis: ScriptedRedis) -> AsyncIterator[Loop]:
    made = Loop(redis, slots=1)
    yield made
    await made.leave()


async def test_without_a_free_slot_nothing_is_claimed(loop: Loop, redis: ScriptedRedis) -> None:
    redis.forever = a_batch()

    loop.start()
    await until(lambda: loop.begun)
    await until(lambda: not loop.ledger.has_free_slot)
    claims = len(redis.claims)
    for _ in range(50):
        await asyncio.sleep(0)

    assert len(redis.claims) == claims == 1
    loop.ledger.strike(loop.begun[0])
    await until(lambda: len(loop.begun) == 2)


async def test_a_wake_that_comes_while_all_slots_are_busy_goes_to_another_worker(
    loop: Loop, redis: ScriptedRedis
) -> None:
    redis.forever = a_batch()
    loop.start()
    await until(lambda: loop.begun)
    for _ in range(5):
        await asyncio.sleep(0)

    loop.bell.ring()

    await until(lambda: redis.asides == 1)


async def test_a_claim_without_a_reply_is_repeated_under_the_same_id(
    loop: Loop, redis: ScriptedRedis
) -> None:
    redis.answers = [ConnectionFailed("gone"), ConnectionFailed("gone"), a_batch()]

    loop.start()
    await until(lambda: loop.begun)

    assert len(set(redis.claims[:3])) == 1
    assert loop.begun == redis.claims[:1]


async def test_every_batch_has_an_id_of_its_own(loop: Loop, redis: ScriptedRedis) -> None:
    redis.answers = [a_batch(), a_batch()]
    loop.start()
    await until(lambda: loop.begun)
    loop.ledger.strike(loop.begun[0])
    await until(lambda: len(loop.begun) == 2)

    assert len(set(loop.begun)) == 2


@pytest.mark.parametrize(
    "error", [AuthenticationFailed("NOPERM"), ServerFull("OOM"), KeyError("a reply that cannot be read")]
)
async def test_a_claim_that_is_refused_for_ever_spins_no_loop_and_ends_no_loop(
    redis: ScriptedRedis, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        if seconds:
            pauses.append(seconds)
        await asyncio.sleep(0)

    monkeypatch.setattr(claimer_module, "asyncio", SimpleNamespace(sleep=sleep))
    redis.answers = [error] * 20
    loop = Loop(redis, slots=1)

    loop.start()
    await until(lambda: loop.claimer.is_idle)  # it lived, and claims again when it may

    assert len(pauses) >= 20
    assert min(pauses[:20]) >= 0.5, "a refusal does not pass by itself in milliseconds"
    await loop.leave()


async def test_after_a_reply_that_cannot_be_read_the_next_claim_has_another_id(
    loop: Loop, redis: ScriptedRedis
) -> None:
    redis.answers = [KeyError("a reply that cannot be read"), a_batch()]

    loop.start()
    await until(lambda: loop.begun)

    assert redis.claims[0] != redis.claims[1]
    assert redis.claims[0] not in loop.ledger.batch_ids()  # so the heartbeat hands it back
    assert loop.ledger.is_unseen(redis.claims[0])  # and counts no run


async def test_an_idle_claimer_sleeps_until_the_bell_rings(loop: Loop, redis: ScriptedRedis) -> None:
    loop.start()
    await until(lambda: loop.claimer.is_idle)
    claims = len(redis.claims)
    for _ in range(50):
        await asyncio.sleep(0)
    assert len(redis.claims) == claims

    loop.bell.ring()

    await until(lambda: len(redis.claims) == claims + 1)


async def test_after_the_last_batch_a_claimer_with_a_slot_to_spare_sleeps_without_another_claim(
    redis: ScriptedRedis,
) -> None:
    redis.answers = [a_batch(last=True)]
    loop = Loop(redis, slots=2)
    loop.start()
    await until(lambda: loop.begun and loop.claimer.is_idle)
    for _ in range(50):
        await asyncio.sleep(0)
    assert redis.spares == [True]

    loop.bell.ring()

    await until(lambda: len(redis.claims) == 2)
    assert redis.spares == [True, False], "one slot was left"
    await loop.leave()
    assert redis.asides == 1


async def test_while_a_batch_is_held_for_newer_workers_no_claim_has_a_slot_to_spare(
    redis: ScriptedRedis,
) -> None:
    redis.answers = [a_batch(newer=True)]
    loop = Loop(redis, slots=3)
    loop.start()
    await until(lambda: loop.begun and loop.claimer.is_idle)

    loop.ledger.park(loop.begun[0])

    await until(lambda: len(redis.claims) >= 3)
    assert redis.spares[-1] is False
    await loop.leave()


async def test_a_watcher_looks_again_when_its_time_has_come_without_any_bell(
    loop: Loop, redis: ScriptedRedis
) -> None:
    redis.answers = [Watch(0.01)]

    loop.start()
    await until(lambda: len(redis.claims) >= 2)

    assert not loop.begun


async def test_a_ring_during_a_claim_is_heard_after_it(loop: Loop, redis: ScriptedRedis) -> None:
    def nothing_yet() -> Idle:
        loop.bell.ring()  # the claim has seen nothing, and its reply is on its way
        return Idle()

    redis.answers = [nothing_yet, a_batch()]
    loop.start()
    await until(lambda: loop.begun)


async def test_quiet_steps_aside_once_and_resume_claims_again(loop: Loop, redis: ScriptedRedis) -> None:
    loop.start()
    await until(lambda: loop.claimer.is_idle)
    loop.claimer.quiet()
    await until(lambda: redis.asides == 1)
    redis.answers = [a_batch()]
    for _ in range(5):
        loop.bell.ring()
        for _ in range(5):
            await asyncio.sleep(0)
    assert not loop.begun
    assert redis.asides == 1

    loop.claimer.resume()

    await until(lambda: loop.begun)


@pytest.mark.parametrize("state", ["idle", "watching", "busy"])
async def test_leaving_takes_the_worker_out_of_the_way_at_once_and_not_after_the_drain(
    redis: ScriptedRedis, state: str
) -> None:
    redis.answers = [{"idle": Idle(), "watching": Watch(60), "busy": a_batch()}[state]]
    loop = Loop(redis, slots=2 if state == "busy" else 1)
    loop.start()
    await until(lambda: redis.claims)

    await loop.leave()

    assert redis.asides == 1


async def test_leaving_awaits_the_claim_that_is_on_its_way_and_begins_its_batch(redis: ScriptedRedis) -> None:
    loop = Loop(redis, slots=1)
    redis.answers = [a_batch()]
    loop.start()
    await asyncio.sleep(0)
    assert redis.claims == []  # sent in the next step

    loop.claimer.leave()
    await loop.leave()

    assert len(loop.begun) == len(redis.claims)


async def test_entries_for_newer_workers_are_not_taken_back_in_a_tight_loop(
    redis: ScriptedRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        if seconds:
            pauses.append(seconds)
        await asyncio.sleep(0)

    monkeypatch.setattr(claimer_module, "asyncio", SimpleNamespace(sleep=sleep))
    redis.answers = [a_batch(newer=True)]
    loop = Loop(redis, slots=2)
    loop.start()
    await until(lambda: loop.begun and loop.claimer.is_idle)
    assert not pauses  # one is held without a slot, and delays nobody

    redis.answers = [a_batch(newer=True)]
    loop.ledger.park(loop.begun[0])
    await until(lambda: pauses)

    assert max(pauses) >= 0.5
    await loop.leave()
