"""Version 1 on the wire, frozen byte by byte: what it wrote stays readable, and is written until version 2.

A change that breaks one of these tests breaks mixed fleets: raise the version instead.
"""

from __future__ import annotations

from typing import Any

import redis

from microbatch.producer import AsyncClient, JobState
from microbatch.worker import Worker, WorkerSettings, batch_processor

PAYLOAD = b"\x82\xa1n\x07\xa4text\xa5hello"  # {"n": 7, "text": "hello"}
DIGEST = bytes.fromhex("aa5b63da7a5e0b6e")  # of no consequence to a reader
LOCAL = "01a1f9de30c675568f241497a9147b34"
KEYS = "mb:{frozen}:"


@batch_processor(queue="frozen", max_batch_size=8, max_wait_ms=0)
async def double(items: list[dict[str, Any]]) -> list[int]:
    return [item["n"] * 2 for item in items]


def raw(url: str) -> redis.Redis:
    return redis.Redis.from_url(url, protocol=2)


async def test_a_job_that_a_version_1_producer_wrote_is_processed_and_its_record_completed(
    redis_url: str,
) -> None:
    with raw(redis_url) as server:
        server.xgroup_create(f"{KEYS}lane:main", "workers", id="0", mkstream=True)
        fields: Any = {b"v": b"1", b"id": LOCAL, b"client": b"c0ffee", b"payload": PAYLOAD}
        entry = server.xadd(f"{KEYS}lane:main", fields)
        record: Any = {
            "v": "1",
            "state": "queued",
            "entry": b"main:" + entry,
            "digest": DIGEST,
            "enqueued_ms": "1763650000123",
        }
        server.hset(f"{KEYS}job:{LOCAL}", mapping=record)

    async with (
        Worker([double], settings=WorkerSettings(redis_url=redis_url)),
        AsyncClient(redis_url) as client,
    ):
        job = client.job(f"frozen/{LOCAL}")
        result = await job.result(timeout_s=30)
        status = await job.status()

    assert result == 14
    assert status.state is JobState.SUCCEEDED
    assert status.attempt == 1
    with raw(redis_url) as server:
        final = server.hgetall(f"{KEYS}job:{LOCAL}")
    assert set(final) == {
        *(b"v", b"state", b"entry", b"digest", b"enqueued_ms"),
        *(b"result", b"finished_ms", b"attempt", b"batch", b"ran"),
    }
    assert final[b"result"] == b"\x0e"
    assert final[b"entry"] == b""


async def test_this_producer_writes_what_a_version_1_worker_reads(redis_url: str) -> None:
    async with AsyncClient(redis_url) as client:
        await client.submit("frozen", {"n": 7, "text": "hello"}, job_id=LOCAL)
        await client.submit(
            "frozen", {"n": 7}, job_id="with-options", headers={"trace": "t1"}, result_ttl_s=2
        )

    with raw(redis_url) as server:
        (_, plain), (_, optional) = server.xrange(f"{KEYS}lane:main")
        record = server.hgetall(f"{KEYS}job:{LOCAL}")

    assert list(plain) == [b"id", b"client", b"payload"]  # no version is version 1
    assert (plain[b"id"], plain[b"payload"]) == (LOCAL.encode(), PAYLOAD)
    assert list(optional) == [b"id", b"client", b"payload", b"headers", b"ttl_ms"]
    assert (optional[b"headers"], optional[b"ttl_ms"]) == (b"\x81\xa5trace\xa2t1", b"2000")
    assert list(record) == [b"entry", b"state", b"enqueued_ms", b"digest"]
