"""Schedules and dead letters of sealed queues: declared and seen with keys, and forged by nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.chaos.kit import quick, until
from tests.integration.test_seals import KINDS, MARK, client, desk, echo, everything
from tests.unit.test_seals import keys

from microbatch.common.codec import encode
from microbatch.common.settings import ClientSettings
from microbatch.console.admin import Admin
from microbatch.producer import JobFailed
from microbatch.worker import Batch, Schedule, Worker, batch_processor

if TYPE_CHECKING:
    from tests.chaos.kit import Desk

__all__ = ["desk"]

POLL = Schedule(
    "poll", queue="work", every_s=1, payload={"what": MARK}, kind=None, headers={"h": 1, "tick": 0}
)
SELDOM = Schedule("seldom", queue="work", every_s=86_400, payload={"what": MARK})


def admin(desk: Desk, **sealing: Any) -> Admin:
    return Admin(settings=ClientSettings(redis_url=desk.url, **sealing))


def noting(ran: list[Any]) -> object:
    @batch_processor(queue="work", max_wait_ms=0)
    async def work(batch: Batch[Any]) -> list[Any]:
        ran.extend((job.payload, job.headers.get("h")) for job in batch)
        return batch.payloads

    return work


@pytest.mark.parametrize("kind", KINDS)
async def test_a_schedule_in_code_runs_under_seal(desk: Desk, kind: Any) -> None:
    ran: list[Any] = []
    async with Worker([noting(ran), POLL], settings=quick(desk.url, **kind)):
        await until(lambda: len(ran) >= 2)
        if "encryption_keys" in kind:
            assert MARK.encode() not in everything(desk)
    assert ran[0] == ({"what": MARK}, 1)
    assert desk.redis.xlen(desk.keys.dead) == 0


@pytest.mark.parametrize("kind", KINDS)
async def test_an_operator_with_the_keys_declares_looks_and_runs_one_now(desk: Desk, kind: Any) -> None:
    ran: list[Any] = []
    async with admin(desk, **kind) as holder, admin(desk) as stranger:
        schedules = holder.schedules("work")
        assert [await schedules.put(SELDOM) for _ in range(2)] == ["new", "same"]
        found = await schedules.find("seldom")
        assert found is not None
        assert found.payload == {"what": MARK}
        seen = await stranger.schedules("work").find("seldom")
        assert seen is not None
        assert (seen.payload, "seal" in seen.fault) == (None, True)
        async with Worker([noting(ran)], settings=quick(desk.url, **kind)):
            assert await stranger.schedules("work").run_now("seldom")
            await until(lambda: bool(ran))
    assert ran == [({"what": MARK}, None)]


async def test_a_new_key_is_taken_up_without_a_new_beginning(desk: Desk) -> None:
    old, both = keys("a"), f"{keys('b')},{keys('a')}"
    async with admin(desk, signing_keys=old) as before, admin(desk, signing_keys=both) as after:
        assert await before.schedules("work").put(SELDOM) == "new"
        assert await after.schedules("work").put(SELDOM) == "same"
    async with admin(desk, signing_keys=keys("b")) as afterwards:
        found = await afterwards.schedules("work").find("seldom")
        assert found is not None
        assert found.payload == {"what": MARK}


async def test_a_schedule_that_somebody_without_a_key_wrote_or_altered_brings_no_job(desk: Desk) -> None:
    kind, ran = KINDS[0], list[Any]()
    async with admin(desk) as forger, admin(desk, **kind) as holder:
        await forger.schedules("work").put(Schedule("forged", queue="work", every_s=1, payload="bad"))
        await holder.schedules("work").put(POLL)
        headers = encode({"h": 2, "tick": 0, "schedule": "poll"})
        desk.redis.hset(desk.keys.schedule("poll"), "headers", headers)
        async with Worker([noting(ran)], settings=quick(desk.url, **kind)):
            await until(lambda: desk.redis.xlen(desk.keys.dead) >= 4)
    assert ran == []


@pytest.mark.parametrize("kind", KINDS)
async def test_a_dead_letter_shows_its_payload_to_who_has_the_keys(desk: Desk, kind: Any) -> None:
    text = f"fail {MARK}"
    async with Worker([echo], settings=quick(desk.url, **kind)), client(desk, **kind) as holder:
        with pytest.raises(JobFailed):
            await holder.call("work", text, timeout_s=30, headers={"h": 1})
    async with admin(desk, **kind) as operator, admin(desk) as stranger:
        (letter,) = await operator.dead_letters("work").newest(1)
        assert (letter.payload, letter.payload_fault, dict(letter.headers)) == (text, "", {"h": 1})
        assert letter.job_id is not None
        found = await operator.dead_letters("work").find(letter.job_id)
        assert found is not None
        assert found.payload == text
        (sealed,) = await stranger.dead_letters("work").newest(1)
        assert sealed.payload is None
        assert "seal" in sealed.payload_fault


@pytest.mark.parametrize("kind", KINDS)
async def test_who_has_the_keys_is_shown_the_payload_of_a_job_whether_it_waits_or_has_failed(
    desk: Desk, kind: Any
) -> None:
    long_headers = {
        "why": "x" * 6_000,
        "h": "1",
    }  # longer than lists of jobs show: the seal covers all of them
    async with client(desk, **kind) as producer, admin(desk, **kind) as holder, admin(desk) as stranger:
        waiting = await producer.submit("work", {"what": MARK}, headers=long_headers)
        later = await producer.submit("work", {"what": MARK}, delay_s=500)
        for job in (waiting, later):
            sheet = await holder.jobs("work").show(job.id, with_payload=True)
            assert sheet is not None
            assert (sheet.payload, sheet.payload_fault) == ({"what": MARK}, "")
            sheet = await stranger.jobs("work").show(job.id, with_payload=True)
            assert sheet is not None
            assert (sheet.payload, "seal" in sheet.payload_fault) == (None, True)
        async with Worker([broken], settings=quick(desk.url, **kind)):
            with pytest.raises(JobFailed):
                await waiting.result(timeout_s=30)
        sheet = await holder.jobs("work").show(waiting.id, with_payload=True)
        assert sheet is not None
        assert (sheet.payload, sheet.payload_fault) == ({"what": MARK}, "")


@batch_processor(queue="work", max_wait_ms=0)
async def broken(batch: Batch[Any]) -> list[Any]:
    return [ValueError("no")] * len(batch)
