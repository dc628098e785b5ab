"""What a claim loop offers, and what it does with a batch that a submit claimed for it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.chaos.kit import until
from tests.unit.claim_loop import Loop, ScriptedRedis, a_batch

from microbatch.common.errors import ProtocolError
from microbatch.common.scripts import Claimed, Watch, read_handed
from microbatch.worker.offer import Offer

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE_S = 30
NO_WAIT = {"max_wait_ms": 0}


def _netstrings(*words: bytes) -> bytes:
    return b"".join(b"%d:%s" % (len(word), word) for word in words)


def _message(batch_id: str, *names: str) -> bytes:
    jobs = [word for n, name in enumerate(names) for word in (b"5-%d" % n, name.encode(), b"c1", b"\xa1x")]
    return _netstrings(batch_id.encode(), b"wait", b"7", *jobs)


async def _idle(loop: Loop) -> None:
    loop.start()
    await until(lambda: loop.claimer.is_idle)


async def _turns() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


@pytest.fixture
def redis() -> ScriptedRedis:
    return ScriptedRedis()


async def test_who_does_not_wait_for_batches_offers_an_id_for_each_of_two_slots(redis: ScriptedRedis) -> None:
    for slots, offered in ((1, 1), (2, 2), (5, 2)):
        loop = Loop(redis, slots, **NO_WAIT)
        await _idle(loop)
        assert len(redis.offers[-1]) == offered
        assert loop.ledger.offer.ids == redis.offers[-1]
        await loop.leave()


@pytest.mark.parametrize("said", [{"max_wait_ms": 5}, {"max_wait_ms": 0, "max_batch_cost": 9}])
async def test_who_waits_for_batches_or_has_a_budget_offers_nothing(redis: ScriptedRedis, said: Any) -> None:
    loop = Loop(redis, slots=2, **said)
    await _idle(loop)
    assert (redis.offers, loop.ledger.offer.ids) == ([()], ())
    await loop.leave()


async def test_a_handed_batch_begins_and_the_loop_sleeps_on(redis: ScriptedRedis) -> None:
    loop = Loop(redis, slots=2, **NO_WAIT)
    await _idle(loop)
    first, second = redis.offers[0]
    loop.claimer.heard(_message(first, "a"))
    await _turns()
    assert (loop.begun, len(redis.claims)) == ([first], 1)
    assert loop.claimer.is_idle
    loop.claimer.heard(_message(second, "b"))
    await _turns()
    assert (loop.begun, len(redis.claims)) == ([first, second], 1)
    assert not loop.claimer.is_idle, "no slot is left"
    loop.ledger.strike(first)
    await until(lambda: len(redis.claims) == 2)
    assert redis.claims[1] not in {first, second}
    await loop.leave()


async def test_when_the_last_id_is_used_and_slots_are_free_it_looks_again(redis: ScriptedRedis) -> None:
    loop = Loop(redis, slots=3, **NO_WAIT)
    await _idle(loop)
    for batch_id in redis.offers[0]:
        loop.claimer.heard(_message(batch_id, "a"))
    await until(lambda: len(redis.claims) == 2)
    assert (len(redis.offers[1]), redis.spares) == (1, [True, False]), "one slot is left"
    await loop.leave()


async def test_the_same_message_again_and_one_for_somebody_else_begin_nothing(redis: ScriptedRedis) -> None:
    loop = Loop(redis, slots=2, **NO_WAIT)
    await _idle(loop)
    first = redis.offers[0][0]
    for _ in range(2):
        loop.claimer.heard(_message(first, "a"))
        loop.claimer.heard(_message("another", "b"))
    await _turns()
    assert loop.begun == [first]
    await loop.leave()


async def test_a_lost_message_is_made_up_by_the_next_claim_under_its_id(redis: ScriptedRedis) -> None:
    loop = Loop(redis, slots=2, **NO_WAIT)
    await _idle(loop)
    first, second = redis.offers[0]
    redis.answers = [a_batch()]
    loop.bell.ring()  # as a heartbeat does that sees an own batch which nobody here runs
    await until(lambda: loop.begun == [first])
    loop.claimer.heard(_message(first, "a"))  # it was late, not lost
    await until(lambda: len(redis.claims) == 3)
    assert (loop.begun, redis.claims) == ([first], [first, first, second])
    await loop.leave()


async def test_who_is_told_to_leave_while_a_handed_batch_has_its_head_start_leaves(
    redis: ScriptedRedis,
) -> None:
    loop = Loop(redis, slots=3, **NO_WAIT)
    await _idle(loop)
    for turns in range(8):
        claims = len(redis.claims)
        for batch_id in redis.offers[-1]:
            loop.claimer.heard(_message(batch_id, "a"))
            loop.ledger.strike(batch_id)
        for _ in range(turns):
            await asyncio.sleep(0)
        loop.claimer.leave()
        assert loop.task is not None
        await asyncio.wait_for(loop.task, PATIENCE_S)
        assert len(redis.claims) <= claims + 1
        loop = Loop(redis, slots=3, **NO_WAIT)
        await _idle(loop)
    await loop.leave()


class _Held(ScriptedRedis):
    """Answers a claim when told."""

    def __init__(self) -> None:
        super().__init__()
        self.go: dict[int, asyncio.Event] = {}

    async def run(self, call: Any) -> Any:
        answer = await super().run(call)
        if call.script.name == "claim" and (event := self.go.get(len(self.claims))) is not None:
            await event.wait()
        return answer


async def _overtaken(
    redis: _Held, answer: Claimed | Callable[[], Any], slots: int = 2
) -> tuple[Loop, str, str]:
    """A claim is on its way when the batch of its id is handed over."""
    loop = Loop(redis, 2, **NO_WAIT)
    await _idle(loop)
    first, second = redis.offers[0]
    redis.answers = [answer]
    redis.go[2] = asyncio.Event()
    loop.bell.ring()
    await until(lambda: len(redis.claims) == 2)
    loop.claimer.heard(_message(first, "a"))
    assert loop.begun == [first]
    redis.go[2].set()
    return loop, first, second


async def test_a_claim_that_is_answered_with_a_batch_that_was_handed_meanwhile_begins_it_once() -> None:
    _, same = read_handed(_message("any", "a"), 1)
    redis = _Held()
    loop, first, second = await _overtaken(redis, same)
    await until(lambda: len(redis.claims) == 3)
    assert (loop.begun, redis.claims[2]) == ([first], second)
    await loop.leave()


async def test_a_claim_that_came_after_the_end_of_that_batch_begins_what_it_took_later() -> None:
    _, other = read_handed(_message("any", "b").replace(b"5-0", b"6-0"), 1)
    redis = _Held()
    loop, first, _ = await _overtaken(redis, other)
    await _turns()
    assert loop.begun == [first]
    loop.ledger.tasks()[first].cancel()
    loop.ledger.strike(first)
    await until(lambda: loop.begun == [first, first])
    await loop.leave()


async def test_the_end_of_a_batch_offers_one_more_id_unless_two_stand_or_a_claim_is_on_its_way(
    redis: ScriptedRedis,
) -> None:
    loop = Loop(redis, slots=2, **NO_WAIT)
    assert loop.claimer.next_offer() is None
    await _idle(loop)
    assert loop.claimer.next_offer() is None
    first, second = redis.offers[0]
    loop.claimer.heard(_message(first, "a"))
    offer = loop.claimer.next_offer()
    assert offer is not None
    assert (offer[0], loop.ledger.offer.ids) == ("1", (second, offer[1]))
    assert loop.claimer.next_offer() is None
    loop.claimer.heard(_message(second, "b"))
    loop.claimer.heard(_message(offer[1], "c"))
    assert loop.begun == [first, second, offer[1]]
    await loop.leave()


async def test_a_claim_that_overtakes_the_end_of_a_batch_offers_what_it_says_and_no_more(
    redis: ScriptedRedis,
) -> None:
    loop = Loop(redis, slots=2, **NO_WAIT)
    await _idle(loop)
    first, second = redis.offers[0]
    loop.claimer.heard(_message(first, "a"))
    assert loop.claimer.next_offer() is not None
    loop.bell.ring()  # while its settle is on its way: what this claim offers is what stands
    await until(lambda: len(redis.claims) == 2)
    await until(lambda: loop.claimer.is_idle)
    assert redis.offers[1] == (second,)
    loop.ledger.strike(first)
    loop.claimer.heard(_message(second, "b"))
    await until(lambda: len(redis.claims) == 3)
    assert loop.begun == [first, second]
    await loop.leave()


async def test_a_wake_that_comes_when_the_last_slot_was_just_handed_a_batch_goes_to_another_worker(
    redis: ScriptedRedis,
) -> None:
    loop = Loop(redis, slots=1, **NO_WAIT)
    await _idle(loop)
    loop.claimer.heard(_message(redis.offers[0][0], "a"))
    loop.claimer.woken()  # the heartbeat read that we are idle before we heard
    await until(lambda: redis.asides == 1)
    assert len(redis.claims) == 1
    await loop.leave()


async def test_what_was_given_up_unheard_is_not_begun_by_a_late_message_nor_claimed_again(
    redis: ScriptedRedis,
) -> None:
    loop = Loop(redis, slots=2, **NO_WAIT)
    await _idle(loop)
    first, second = redis.offers[0]
    loop.ledger.miss(first)
    loop.ledger.miss("another")
    assert (loop.ledger.is_unseen(first), loop.ledger.is_unseen("another")) == (True, False)
    loop.claimer.heard(_message(first, "a"))
    loop.bell.ring()
    await until(lambda: len(redis.claims) == 2)
    assert (loop.begun, redis.claims[1]) == ([], second)
    loop.claimer.heard(_message(second, "b"))
    loop.ledger.miss(second)
    assert not loop.ledger.is_unseen(second)
    await loop.leave()


async def test_a_batch_that_ends_without_an_offer_makes_the_loop_look(redis: ScriptedRedis) -> None:
    loop = Loop(redis, slots=2, **NO_WAIT)
    await _idle(loop)
    first, second = redis.offers[0]
    loop.claimer.heard(_message(first, "a"))
    loop.claimer.landed()
    await _turns()
    assert len(redis.claims) == 1, "the slot is still taken"
    loop.ledger.strike(first)
    loop.claimer.landed()
    await until(lambda: len(redis.claims) == 2)
    assert redis.offers[1][0] == second
    await loop.leave()


async def test_who_stops_offering_asks_under_each_id_that_stood(redis: ScriptedRedis) -> None:
    loop = Loop(redis, slots=2, **NO_WAIT)
    await _idle(loop)
    loop.claimer.stop_offering()
    await until(lambda: not loop.ledger.offer.ids)
    assert redis.claims == [redis.offers[0][0], *redis.offers[0]]
    assert redis.offers[1:] == [(), ()]
    await loop.leave()


async def test_a_watch_withdraws_nothing_that_may_have_been_taken(redis: ScriptedRedis) -> None:
    loop = Loop(redis, slots=2, **NO_WAIT)
    await _idle(loop)
    redis.answers = [Watch(60.0)]
    loop.bell.ring()
    await until(lambda: len(redis.claims) == 2)
    await _turns()
    assert set(redis.offers[0]) <= set(loop.ledger.offer.ids)
    await loop.leave()


@pytest.mark.parametrize(
    "garbage", [b"", b"x", b"1:a", b"1:a1:b1:c", _netstrings(b"b", b"wait", b"7", b"5-0", b"a")]
)
async def test_a_message_that_no_script_wrote_makes_the_loop_look(
    redis: ScriptedRedis, garbage: bytes
) -> None:
    loop = Loop(redis, slots=1, **NO_WAIT)
    await _idle(loop)
    loop.claimer.heard(garbage)
    await until(lambda: len(redis.claims) == 2)
    assert loop.begun == []
    await loop.leave()


@given(st.binary(max_size=200))
def test_reading_what_was_handed_over_raises_nothing_else(message: bytes) -> None:
    try:
        batch_id, claimed = read_handed(message, 1)
    except ProtocolError:
        return
    assert isinstance(batch_id, str)
    assert isinstance(claimed.claimed_ms, int)


@given(
    st.lists(
        st.sampled_from(["make", "make one", "decline", "extend", "take", "take next", "withdraw"]),
        max_size=30,
    )
)
def test_no_id_of_an_offer_is_used_for_two_batches(steps: list[str]) -> None:
    offer, used = Offer(), set[str]()
    for step in steps:
        match step:
            case "make" | "make one":
                offer.make(with_spare=step == "make")
            case "decline":
                offer.decline()
            case "extend":
                assert offer.extend()[1] not in used
            case "withdraw" if offer.ids:
                offer.withdraw(offer.ids[0])
            case "take" | "take next":
                batch_id = offer.next_id if step == "take next" or not offer.ids else offer.ids[-1]
                offer.withdraw(batch_id)
                offer.use_up(batch_id)
                assert batch_id not in used
                used.add(batch_id)
        assert not used & {offer.next_id, offer.spare_id, *offer.ids}
        assert offer.next_id != offer.spare_id
