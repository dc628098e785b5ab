"""Sealed queues on a real server: who has the keys works as ever, who has not can neither read nor forge."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.chaos.kit import Desk, desk_at, quick, until
from tests.integration import executor_processors as processors
from tests.unit.test_seals import keys

from microbatch.common.codec import encode
from microbatch.common.errors import JobFailed, ProtocolError, SealError
from microbatch.common.settings import ClientSettings
from microbatch.producer import AsyncClient
from microbatch.worker import Batch, BatchProcessor, ErrorFacts, Job, Worker, batch_processor

if TYPE_CHECKING:
    from collections.abc import Iterator

MARK = "attack-at-dawn"
KINDS = [
    {"signing_keys": keys("a")},
    {"encryption_keys": keys("b")},
    {"signing_keys": keys("a"), "encryption_keys": keys("b")},
]


@pytest.fixture
def desk(redis_url: str) -> Iterator[Desk]:
    with desk_at(redis_url) as made:
        yield made


@batch_processor(queue="work", max_batch_size=10, max_wait_ms=0)
async def echo(payloads: list[Any]) -> list[Any]:
    """Fails what asks for it, quoting it."""
    return [ValueError(payload) if "fail" in str(payload) else [payload] for payload in payloads]


def client(desk: Desk, **sealing: Any) -> AsyncClient:
    return AsyncClient(settings=ClientSettings(redis_url=desk.url, poll_interval_s=0.1, **sealing))


def everything(desk: Desk) -> bytes:
    """All that the server holds."""
    found: list[bytes] = []
    for key in desk.redis.scan_iter("*"):
        found.append(desk.redis.dump(key) or b"")  # strings inside of it are as they are
        kind = desk.redis.type(key)
        if kind == b"hash":
            found += [repr(desk.redis.hgetall(key)).encode()]
        elif kind == b"stream":
            found += [repr(desk.redis.xrange(key)).encode()]
    return b"".join(found)


@pytest.mark.parametrize("kind", KINDS)
async def test_sealed_jobs_and_results_travel_as_others_do(desk: Desk, kind: Any) -> None:
    async with Worker([echo], settings=quick(desk.url, **kind)), client(desk, **kind) as holder:
        one = await holder.submit("work", MARK, headers={"h": 1}, job_id="named")
        assert await one.result(timeout_s=30) == [MARK]
        assert (await holder.submit("work", MARK, headers={"h": 1}, job_id="named")).id == one.id
        assert await holder.map("work", ["x", "y"], timeout_s=30) == [["x"], ["y"]]
        assert await holder.call("work", "z", timeout_s=30, result_ttl_s=0) == ["z"]
        async with client(desk, **kind) as other:
            assert await other.job(one.id).result(timeout_s=30) == [MARK]


async def test_processors_in_child_processes_see_what_was_sealed(desk: Desk) -> None:
    kind = KINDS[-1]
    settings = quick(desk.url, **kind)
    async with Worker([processors.in_process], settings=settings), client(desk, **kind) as holder:
        assert await holder.map("work", [MARK, 2], timeout_s=30) == [MARK, 2]
    assert MARK.encode() not in everything(desk)


class Hooked(BatchProcessor[Any, Any]):
    """Remembers what its hooks are told."""

    queue = "work"

    def __init__(self) -> None:
        self.told: list[Any] = []

    async def process(self, batch: Batch[Any]) -> list[Any]:
        answers: list[Any] = await echo.function(batch.payloads)
        return answers

    async def on_success(self, _job: Job[Any], result: Any) -> None:
        self.told.append(result)

    async def on_failure(self, _job: Job[Any], error: ErrorFacts) -> None:
        self.told.append(error.message)


async def test_hooks_are_told_what_is_inside(desk: Desk) -> None:
    kind, hooked = KINDS[-1], Hooked()
    async with Worker([hooked], settings=quick(desk.url, **kind)), client(desk, **kind) as holder:
        assert await holder.call("work", "good", timeout_s=30) == ["good"]
        with pytest.raises(JobFailed):
            await holder.call("work", "fail", timeout_s=30)
        await until(lambda: len(hooked.told) == 2)

    assert hooked.told == [["good"], "fail"]


async def test_encrypted_values_are_nowhere_in_redis_not_even_in_errors(desk: Desk) -> None:
    kind = KINDS[1]
    async with client(desk, **kind) as holder:
        jobs = [await holder.submit("work", text) for text in (MARK, f"fail {MARK}")]
        assert MARK.encode() not in everything(desk)
        async with Worker([echo], settings=quick(desk.url, **kind)):
            assert await jobs[0].result(timeout_s=30) == [MARK]
            with pytest.raises(JobFailed, match="ValueError: not told") as caught:
                await jobs[1].result(timeout_s=30)

    assert caught.value.error_traceback == ""
    assert MARK.encode() not in everything(desk)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_job_without_a_right_seal_is_set_aside_alone_with_the_reason(desk: Desk, kind: Any) -> None:
    plain = desk.submit("forged")
    async with client(desk, **kind) as holder, client(desk, **{name: keys("d") for name in kind}) as stranger:
        good = await holder.submit("work", 1)
        strange = await stranger.submit("work", 2)
        async with Worker([echo], settings=quick(desk.url, **kind)):
            assert await good.result(timeout_s=30) == [1]
            await until(lambda: desk.redis.xlen(desk.keys.dead) == 2)
            with pytest.raises(
                JobFailed, match=r"SealError: the payload cannot be trusted: .*unknown key 'd'"
            ):
                await strange.result(timeout_s=30)

    assert desk.record(plain[0])["state"] == b"failed"
    assert b"asks for it" in desk.record(plain[0])["error"]


async def test_a_payload_moved_to_another_job_or_under_other_headers_is_set_aside(desk: Desk) -> None:
    kind = KINDS[0]
    async with client(desk, **kind) as holder:
        await holder.submit("work", "pay 1", headers={"to": "me"})
        entries: Any = desk.redis.xrange(desk.keys.lane("main"))
        fields = dict(entries[0][1])
        desk.add_raw(**{name.decode(): value for name, value in (fields | {b"id": b"other"}).items()})
        headers = encode({"to": "you"})
        desk.add_raw(**{name.decode(): value for name, value in (fields | {b"headers": headers}).items()})
        async with Worker([echo], settings=quick(desk.url, **kind)):
            await until(lambda: desk.redis.xlen(desk.keys.dead) == 2)


@pytest.mark.parametrize("forged", [encode("forged"), b"\xc7\x23\x01\x01a" + bytes(33)])
async def test_a_forged_result_is_no_result_whether_pushed_or_written(desk: Desk, forged: bytes) -> None:
    kind = KINDS[0]
    async with client(desk, **kind) as holder:
        job = await holder.submit("work", 1)
        local = job.id.partition("/")[2]
        (channel,) = desk.redis.pubsub_channels("*reply*")
        pushed = b"\x93" + encode(local) + encode("succeeded") + forged
        desk.redis.publish(channel, pushed)
        async with Worker([echo], settings=quick(desk.url, **kind)):
            assert await job.result(timeout_s=30) == [1]
        desk.redis.hset(job.result_key, "result", forged)
        async with client(desk, **kind) as other:
            with pytest.raises(ProtocolError, match=r"seal|sign"):
                await other.job(job.id).result(timeout_s=30)


async def test_keys_reach_producers_and_workers_one_after_the_other(desk: Desk) -> None:
    plain = desk.submit("from before")
    lenient = {**KINDS[0], "accept_unsealed": True}
    async with Worker([echo], settings=quick(desk.url, **lenient)), client(desk, **lenient) as holder:
        await until(lambda: desk.are_final(plain))
        assert await holder.call("work", 1, timeout_s=30) == [1]
        assert await holder.job(f"work/{plain[0]}").result(timeout_s=30) == ["from before"]
    async with client(desk) as keyless:
        with pytest.raises(ProtocolError, match="no keys for it here"):
            await keyless.job(f"work/{plain[0]}").result(timeout_s=30)


def test_a_seal_error_is_one_of_ours() -> None:
    assert issubclass(SealError, ProtocolError)
