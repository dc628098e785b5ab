"""Submitting: what is accepted, what is refused and how, and in how many round trips."""

from __future__ import annotations

import asyncio
import gc
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest
import redis.asyncio as aioredis
from tests.integration.test_producer_stand_in import stand_in, working

from microbatch.common.codec import decode
from microbatch.producer import (
    AsyncClient,
    ClientSettings,
    DuplicateJobId,
    JobState,
    PayloadError,
    PayloadTooLarge,
    ProtocolError,
    QueueFull,
    ServerFull,
    SubmitTimeout,
    admission,
    bulk,
)
from microbatch.producer.handle import ticket_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

LANE = "mb:{q}:lane:main"


@pytest.fixture
async def raw(redis_url: str) -> AsyncIterator[aioredis.Redis]:
    async with aioredis.Redis.from_url(redis_url, decode_responses=True) as raw:
        await raw.config_resetstat()
        yield raw


def settings(url: str, **values: Any) -> ClientSettings:
    return ClientSettings(redis_url=url, **values)


async def script_calls(raw: aioredis.Redis) -> int:
    stats = await raw.info("commandstats")
    return int(stats["cmdstat_evalsha"]["calls"])


async def payloads_by_id(raw: aioredis.Redis) -> dict[str, Any]:
    """What waits, by full id, in the order of the queue."""
    found: Any = await raw.execute_command("XRANGE", LANE, "-", "+", NEVER_DECODE=True)
    return {f"q/{fields[b'id'].decode()}": decode(fields[b"payload"]) for _, fields in found}


async def test_a_submitted_job_has_an_id_a_record_and_an_entry(redis_url: str, raw: aioredis.Redis) -> None:
    async with AsyncClient(redis_url) as client:
        job = await client.submit("q", {"a": [1, 2.5, None, b"x"]})
        queue, _, local = job.id.partition("/")

        assert (queue, job.queue, job.result_key) == ("q", "q", f"mb:{{q}}:job:{local}")
        assert await raw.hget(job.result_key, "state") == "queued"
        assert await raw.xlen(LANE) == 1
        assert await client.queues() == ["q"]
        assert (await client.queue_status("q")).waiting == 1
        assert repr(job) == f"<AsyncJobHandle {job.id} open>"


async def test_a_thousand_gathered_submits_need_few_script_calls(redis_url: str, raw: aioredis.Redis) -> None:
    async with AsyncClient(redis_url) as client:
        jobs = await asyncio.gather(*(client.submit("q", number) for number in range(1000)))

        assert len({job.id for job in jobs}) == 1000
        assert await raw.xlen(LANE) == 1000
        assert await script_calls(raw) <= 8


async def test_submitting_many_takes_payloads_chunk_by_chunk_and_keeps_their_order(
    redis_url: str, raw: aioredis.Redis
) -> None:
    taken = 0

    def payloads() -> Iterator[int]:
        nonlocal taken
        for number in range(3000):
            taken += 1
            yield number

    async with AsyncClient(redis_url) as client:
        submit = asyncio.create_task(client.submit_many("q", payloads()))
        while not await raw.exists(LANE):
            assert taken < 3000
        jobs = await submit
        numbers = await payloads_by_id(raw)

        assert [numbers[job.id] for job in jobs] == list(range(3000))
        assert await script_calls(raw) <= 16


async def test_submitting_none_is_no_jobs(redis_url: str) -> None:
    async with AsyncClient(redis_url) as client:
        assert await client.submit_many("q", []) == []


async def test_large_payloads_leave_in_flights_of_a_mebibyte(redis_url: str, raw: aioredis.Redis) -> None:
    async with AsyncClient(redis_url) as client:
        await client.submit_many("q", [b"x" * 400_000] * 10)

        assert await raw.xlen(LANE) == 10
        assert await script_calls(raw) >= 5


async def test_the_same_id_with_the_same_payload_is_the_same_job(redis_url: str, raw: aioredis.Redis) -> None:
    async with AsyncClient(redis_url) as client, AsyncClient(redis_url) as other:
        jobs = [await each.submit("q", "x", job_id="a") for each in (client, client, other)]

        assert [job.id for job in jobs] == ["q/a"] * 3
        assert await raw.xlen(LANE) == 1
        async with working(redis_url):
            assert [await job.result(timeout_s=30) for job in jobs] == ["x"] * 3


async def test_the_same_id_with_another_payload_is_a_duplicate(redis_url: str) -> None:
    async with AsyncClient(redis_url) as client:
        await client.submit("q", "x", job_id="a")
        with pytest.raises(DuplicateJobId) as caught:
            await client.submit("q", "y", job_id="a")

        assert caught.value.job_id == "q/a"


async def test_the_same_id_in_one_flight_is_accepted_once(redis_url: str) -> None:
    async with AsyncClient(redis_url) as client:
        submits = (client.submit("q", payload, job_id="a") for payload in ("x", "y", "x"))
        first, second, third = await asyncio.gather(*submits, return_exceptions=True)

        assert isinstance(second, DuplicateJobId)
        assert {getattr(first, "id", first), getattr(third, "id", third)} == {"q/a"}


async def test_a_key_of_another_type_is_a_protocol_error_of_that_job_alone(
    redis_url: str, raw: aioredis.Redis
) -> None:
    await raw.set("mb:{q}:job:a", "not ours")
    async with AsyncClient(redis_url) as client:
        refused, accepted = await asyncio.gather(
            client.submit("q", 1, job_id="a"), client.submit("q", 2), return_exceptions=True
        )

        assert isinstance(refused, ProtocolError)
        assert not isinstance(accepted, BaseException)


async def test_a_full_queue_refuses_at_once(redis_url: str) -> None:
    async with AsyncClient(settings=settings(redis_url, max_queue_length=2)) as client:
        await client.submit_many("q", [1, 2])
        with pytest.raises(QueueFull) as caught:
            await client.submit("q", 3)

        assert caught.value.queue == "q"
        assert caught.value.retry_after_s > 0
        assert caught.value.accepted == ()


async def test_a_known_job_is_the_same_job_even_when_the_queue_is_full(redis_url: str) -> None:
    async with AsyncClient(settings=settings(redis_url, max_queue_length=1)) as client:
        await client.submit("q", 1, job_id="a")

        assert (await client.submit("q", 1, job_id="a")).id == "q/a"


async def test_a_full_queue_tells_which_of_many_jobs_were_accepted(
    redis_url: str, raw: aioredis.Redis
) -> None:
    async with AsyncClient(settings=settings(redis_url, max_queue_length=700)) as client:
        with pytest.raises(QueueFull) as caught:
            await client.submit_many("q", range(5000))
        numbers = await payloads_by_id(raw)
        accepted = [numbers.pop(job.id) for job in caught.value.accepted]  # type: ignore[attr-defined]

        assert len(accepted) == 700
        assert accepted == sorted(accepted)
        assert not numbers


async def test_waiting_for_room_submits_everything_in_the_end(redis_url: str) -> None:
    async with (
        AsyncClient(settings=settings(redis_url, max_queue_length=10)) as client,
        working(redis_url),
    ):
        jobs = await client.submit_many("q", range(50), on_full="wait", timeout_s=60)
        more = await asyncio.gather(*(client.submit("q", n, on_full="wait") for n in range(20)))

        assert [await job.result(timeout_s=30) for job in [*jobs, *more]] == [*range(50), *range(20)]


@pytest.mark.parametrize("many", [False, True])
async def test_waiting_for_room_in_vain_is_queue_full_at_the_deadline(
    redis_url: str,
    monkeypatch: pytest.MonkeyPatch,
    many: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    for asks_again in (admission, bulk):  # or the deadline may pass while it asks: that is a SubmitTimeout
        monkeypatch.setattr(asks_again, "pause_s", lambda _full: 60.0)
    async with AsyncClient(settings=settings(redis_url, max_queue_length=1)) as client:
        await client.submit("q", 0)
        started_s = time.monotonic()
        with pytest.raises(QueueFull):
            await (
                client.submit_many("q", range(300), on_full="wait", timeout_s=1.5)
                if many
                else client.submit("q", 1, on_full="wait", timeout_s=1.5)
            )

        assert time.monotonic() - started_s > 1.4


@pytest.mark.parametrize("many", [False, True])
async def test_a_server_that_does_not_answer_in_time_is_a_submit_timeout(
    redis_url: str,
    raw: aioredis.Redis,
    many: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    async with AsyncClient(redis_url) as client:
        await client.submit("q", 0)
        await raw.execute_command("CLIENT", "PAUSE", "10000", "WRITE")
        try:
            with pytest.raises(SubmitTimeout) as caught:
                await (
                    client.submit_many("q", [1], timeout_s=0.1)
                    if many
                    else client.submit("q", 1, timeout_s=0.1)
                )
        finally:
            await raw.execute_command("CLIENT", "UNPAUSE")

        assert (caught.value.queue, caught.value.timeout_s) == ("q", 0.1)


async def test_a_submit_that_was_cancelled_before_its_flight_adds_nothing(
    redis_url: str, raw: aioredis.Redis
) -> None:
    async with AsyncClient(redis_url) as client:
        await client.submit("q", 0)
        task = asyncio.create_task(client.submit("q", 1))
        await asyncio.sleep(0)  # it has handed the job over; the flight leaves one step later
        task.cancel()
        await asyncio.wait([task])
        await client.submit("q", 2)

        assert list((await payloads_by_id(raw)).values()) == [0, 2]


@pytest.mark.parametrize("payload", [object(), {1: 2}, datetime(2026, 1, 1), 1 << 70])  # noqa: DTZ001
async def test_a_payload_that_cannot_travel_is_refused_before_it_leaves(
    redis_url: str, payload: object
) -> None:
    async with AsyncClient(redis_url) as client:
        with pytest.raises(PayloadError):
            await client.submit("q", payload)


async def test_a_payload_that_is_too_large_is_refused(redis_url: str) -> None:
    async with AsyncClient(settings=settings(redis_url, max_payload_bytes=10)) as client:
        with pytest.raises(PayloadTooLarge):
            await client.submit("q", "x" * 10)


async def test_a_bad_payload_among_many_says_how_many_were_accepted(
    redis_url: str, raw: aioredis.Redis
) -> None:
    async with AsyncClient(redis_url) as client:
        with pytest.raises(PayloadError) as caught:
            await client.submit_many("q", [*range(2000), object()])
        accepted = int(caught.value.__notes__[0].split()[0])

        assert 0 < accepted <= await raw.xlen(LANE) < 2000


@pytest.mark.parametrize(
    "arguments",
    [
        {"queue": "a/b", "payload": 1},
        {"queue": "", "payload": 1},
        {"queue": "q", "payload": 1, "job_id": "a b"},
        {"queue": "q", "payload": 1, "on_full": "panic"},
        {"queue": "q", "payload": 1, "result_ttl_s": -1},
        {"queue": "q", "payload": 1, "result_ttl_s": float("nan")},
    ],
)
async def test_arguments_that_cannot_be_are_value_errors(redis_url: str, arguments: dict[str, Any]) -> None:
    async with AsyncClient(redis_url) as client:
        with pytest.raises(ValueError):  # noqa: PT011 - the sentence belongs to who checks it
            await client.submit(**arguments)


async def test_headers_and_result_ttl_travel_with_the_job(redis_url: str) -> None:
    async with AsyncClient(redis_url) as client, stand_in(redis_url) as worker:
        await client.submit("q", 1, headers={"trace": "abc"}, result_ttl_s=1.5)
        (batch,) = await worker.claim()

        assert batch.entries[0].headers == b"\x81\xa5trace\xa3abc"
        assert batch.entries[0].ttl_ms == "1500"


async def test_a_server_without_memory_is_server_full(redis_url: str, raw: aioredis.Redis) -> None:
    async with AsyncClient(redis_url) as client:
        await client.submit("q", 1)
        await raw.config_set("maxmemory", 1)
        with pytest.raises(ServerFull):
            await client.submit("q", 2)


async def test_jobs_that_nobody_asks_for_cost_the_client_nothing(redis_url: str) -> None:
    async with AsyncClient(redis_url) as client:
        kept = await client.submit("q", 0)
        for _ in range(20):
            await asyncio.gather(*(client.submit("q", number) for number in range(100)))
            await client.submit_many("q", range(1000))
        gc.collect()

        assert len(ticket_of(kept).mailbox.tickets) == 1
        assert (await kept.status()).state is JobState.QUEUED
