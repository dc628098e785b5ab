"""durability="replicated": a submit returns once the replicas have the job, or says that they do not."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import redis
from tests.chaos.kit import Recorder, quick
from tests.topologies import Sentinels, sentinels_of

from microbatch.common.keys import QueueKeys
from microbatch.console.main import main
from microbatch.producer import (
    AsyncClient,
    AsyncJobHandle,
    Client,
    ClientSettings,
    DuplicateJobId,
    NotReplicated,
    QueueFull,
)
from microbatch.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

QUICK_S = 1.0  # the command time-out where a replica is frozen; four tenths of it are waited
KEYS = QueueKeys("safe")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Sentinels]:
    with sentinels_of("valkey", tmp_path) as running:
        yield running


@pytest.fixture(params=["redis", "valkey"])
def any_site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Sentinels]:
    """They differ in what they count as the last write of a connection."""
    with sentinels_of(request.param, tmp_path) as running:
        yield running


@contextmanager
def frozen_replica(site: Sentinels) -> Iterator[None]:
    site.replica.freeze()
    try:
        yield
    finally:
        site.replica.thaw()


def settings(site: Sentinels, **values: Any) -> ClientSettings:
    return ClientSettings(redis_url=site.url, **{"command_timeout_s": QUICK_S, **values})


def entries(site: Sentinels) -> int:
    site.primary.do("SELECT", 1)
    count: int = site.primary.do("XLEN", KEYS.lane("main"))
    return count


async def test_a_job_that_no_replica_has_is_accepted_and_can_be_waited_for_again(any_site: Sentinels) -> None:
    site = any_site
    async with AsyncClient(settings=settings(site)) as client, AsyncClient(settings=settings(site)) as other:
        await client.submit("safe", "first", job_id="a", durability="replicated")
        with site.replica_database() as database:
            assert database.hget(KEYS.job("a"), "state") == b"queued"

        with frozen_replica(site):
            with pytest.raises(NotReplicated, match="job safe/b was accepted, but 0 of 1 replica") as caught:
                await client.submit("safe", "second", job_id="b", durability="replicated")
            assert (caught.value.job_id, caught.value.wanted, caught.value.reached) == ("safe/b", 1, 0)
            assert entries(site) == 2
            with pytest.raises(NotReplicated):  # of another client, to which nothing was said before
                await other.submit("safe", "second", job_id="b", durability="replicated")
            with pytest.raises(NotReplicated):  # and not SubmitTimeout: the answer comes before that
                await client.submit("safe", "second", job_id="b", durability="replicated", timeout_s=1.0)
            with pytest.raises(DuplicateJobId):
                await client.submit("safe", "other", job_id="b", durability="replicated")

        job = await other.submit("safe", "second", job_id="b", durability="replicated", timeout_s=10)
        with site.replica_database() as database:
            assert database.hget(KEYS.job("b"), "state") == b"queued"
        assert entries(site) == 2
        async with Worker([Recorder("safe")], settings=quick(site.url)):
            assert await job.result(timeout_s=30) == "second"


async def test_others_are_not_held_up(site: Sentinels) -> None:
    async with AsyncClient(settings=settings(site, command_timeout_s=20.0)) as client:
        with frozen_replica(site):
            waiting = asyncio.create_task(client.submit("safe", 1, durability="replicated"))
            for number in range(20):
                await client.submit("safe", number)
            await client.submit("safe", 21, durability="fast")
            assert not waiting.done()
        await waiting


async def test_many_jobs_say_which_of_them_were_accepted(site: Sentinels) -> None:
    async with AsyncClient(settings=settings(site)) as client:
        jobs = await client.submit_many("safe", range(300), durability="replicated")
        with site.replica_database() as database:
            assert len(database.keys(KEYS.job("*"))) == len(jobs) == 300
        with frozen_replica(site):
            with pytest.raises(NotReplicated, match="jobs were accepted") as caught:
                await client.submit_many("safe", range(3), durability="replicated")
            assert len(caught.value.accepted) == 3
            with pytest.raises(ValueError, match="durability is 'fast' or 'replicated'"):
                await client.submit("safe", 1, durability="strong")  # type: ignore[arg-type]

    def in_a_thread() -> None:
        with Client(settings=settings(site, max_queue_length=305)) as blocking:
            with frozen_replica(site), pytest.raises(NotReplicated) as caught:
                blocking.submit_many("safe", range(2), durability="replicated")
            assert [job.status().state for job in caught.value.accepted] == ["queued"] * 2  # type: ignore[attr-defined]
            with pytest.raises(QueueFull):
                blocking.submit_many("safe", range(2), durability="replicated")

    await asyncio.to_thread(in_a_thread)


async def test_no_replicated_job_is_lost_with_the_primary(site: Sentinels) -> None:
    jobs: list[tuple[int, AsyncJobHandle]] = []
    some = asyncio.Event()
    client_settings = settings(site, command_timeout_s=5.0, poll_interval_s=0.5)
    async with AsyncClient(settings=client_settings) as client:

        async def produce(name: str) -> None:
            for number in range(1000):
                job = await client.submit("safe", number, job_id=f"{name}{number}", durability="replicated")
                jobs.append((number, job))
                if len(jobs) > 60:
                    some.set()

        producing = [asyncio.create_task(produce(name)) for name in "abc"]
        await some.wait()
        await asyncio.to_thread(site.primary.kill)
        # Behind the new primary there is no replica: the next submit says so.
        outcomes = await asyncio.gather(*producing, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {NotReplicated}
        async with Worker([Recorder("safe")], settings=quick(site.url, command_timeout_s=20.0)):
            assert [await job.result(timeout_s=20) for _, job in jobs] == [number for number, _ in jobs]


def test_the_command_says_that_a_job_is_accepted_and_not_replicated(
    redis_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (
        "submit",
        "safe",
        "1",
        "--job-id",
        "alone",
        "--durability",
        "replicated",
        "--redis-url",
        redis_url,
    )
    code, shown = main(words), capsys.readouterr()
    assert (code, shown.out) == (4, "")
    assert "job safe/alone was accepted, but 0 of 1 replica" in shown.err
    with redis.Redis.from_url(redis_url) as database:
        assert database.hget(KEYS.job("alone"), "state") == b"queued"
