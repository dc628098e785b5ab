"""A job's log and progress on a real server: from coroutines, threads and child processes, read anywhere."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import TYPE_CHECKING

import pytest
from tests.chaos.kit import desk_at, quick
from tests.integration.executor_processors import Chatty

from microbatch.console.main import main
from microbatch.producer import (
    AsyncClient,
    AsyncJobHandle,
    Client,
    JobState,
    JobStatus,
    LogLine,
    ResultNotFound,
)
from microbatch.worker import Batch, Retry, Worker, batch_processor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def said(lines: Sequence[LogLine]) -> list[tuple[int, int, str, str]]:
    return [(line.number, line.attempt, line.level, line.text) for line in lines]


async def test_a_log_has_the_lines_of_all_runs_and_every_job_its_own(redis_url: str) -> None:
    @batch_processor(queue="work", max_wait_ms=0)
    async def talk(batch: Batch[str]) -> list[object]:
        for job in batch:
            job.log.info("run %d of %s", job.attempt, job.payload)
            job.log.error("trouble\nin two lines")
        return [Retry(delay_s=0) if job.attempt == 1 else "done" for job in batch]

    async with AsyncClient(redis_url) as client, Worker([talk], settings=quick(redis_url)):
        jobs = await client.submit_many("work", ["a", "b"])
        await asyncio.gather(*(job.result(timeout_s=30) for job in jobs))
        for job, name in zip(jobs, "ab", strict=True):
            assert said(await job.logs()) == [
                (1, 1, "info", f"run 1 of {name}"),
                (2, 1, "error", "trouble\nin two lines"),
                (3, 2, "info", f"run 2 of {name}"),
                (4, 2, "error", "trouble\nin two lines"),
            ]
        with pytest.raises(ResultNotFound):
            await client.job("work/nobody").logs()

    def elsewhere() -> int:
        with Client(redis_url) as other:
            return len(other.job(jobs[0].id).logs())

    assert await asyncio.to_thread(elsewhere) == 4


async def look_until(job: AsyncJobHandle, wanted: Callable[[JobStatus], bool]) -> JobStatus:
    async with asyncio.timeout(20):
        while True:
            status = await job.status()
            if wanted(status):
                return status
            await asyncio.sleep(0.01)


async def test_progress_is_seen_while_the_job_runs(redis_url: str) -> None:
    go = threading.Event()

    @batch_processor(queue="work", max_wait_ms=0)
    def slowly(batch: Batch[str]) -> list[str]:
        for job in batch:
            job.progress(0.4, "page 2 of 5")
            job.log.info("halfway")
        go.wait(10)
        return batch.payloads

    async with AsyncClient(redis_url) as client, Worker([slowly], settings=quick(redis_url)):
        job = await client.submit("work", "x")
        try:
            status = await look_until(job, lambda status: status.progress is not None)
            assert status.state is JobState.RUNNING
            assert status.progress is not None
            assert (status.progress.fraction, status.progress.text) == (0.4, "page 2 of 5")
            assert status.progress.attempt == 1
            assert [line.text for line in await job.logs()] == ["halfway"]
        finally:
            go.set()
        await job.result(timeout_s=30)
        assert (await job.status()).progress is not None


async def test_a_loop_that_talks_without_end_costs_few_calls(redis_url: str) -> None:
    @batch_processor(queue="work", max_wait_ms=0)
    def babble(batch: Batch[int]) -> list[int]:
        for n in range(20_000):
            batch[0].progress(n / 20_000)
            batch[0].log.debug(str(n))
        return batch.payloads

    with desk_at(redis_url) as desk:
        async with AsyncClient(redis_url) as client, Worker([babble], settings=quick(redis_url)):
            job = await client.submit("work", 1)
            desk.reset_statistics()
            await job.result(timeout_s=20)
            calls = desk.script_calls()
            lines = await job.logs()
        assert calls < 200
        assert lines[-1].text == "19999"
        assert 800 <= len(lines) <= 1_000
        assert len(desk.redis.hget(desk.keys.job(job.id.partition("/")[2]), "log") or b"") <= 64 * 1024


async def test_a_child_process_may_talk_too_and_is_heard_before_it_dies(redis_url: str) -> None:
    async with (
        AsyncClient(redis_url) as client,
        Worker([Chatty()], settings=quick(redis_url, executor="process", max_crashes=1)),
    ):
        fine = await client.submit("chatty", "fine")
        assert await fine.result(timeout_s=20) == "fine"
        assert [line.text for line in await fine.logs()] == ["got fine", "from a thread"]
        progress = (await fine.status()).progress
        assert progress is not None
        assert (progress.fraction, progress.text) == (1.0, "all of it")
        dying = await client.submit("chatty", "die")
        await look_until(dying, lambda status: status.state.is_final)
        assert [line.text for line in await dying.logs()][:2] == ["got die", "from a thread"]


def test_the_command_shows_a_log_as_text_and_as_json(
    redis_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MICROBATCH_REDIS_URL", redis_url)

    @batch_processor(queue="work", max_wait_ms=0)
    async def talk(batch: Batch[str]) -> list[str]:
        batch[0].log.warning("careful\x1b[2J")
        return batch.payloads

    async def work() -> str:
        async with AsyncClient(redis_url) as client, Worker([talk], settings=quick(redis_url)):
            job = await client.submit("work", "x")
            await job.result(timeout_s=30)
            return job.id

    job_id = asyncio.run(work())
    assert main(["log", job_id]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.split()[1:3] == ["1", "WARNING"]
    assert line.endswith(r"careful\x1b[2J")
    assert main(["log", job_id, "--json"]) == 0
    (shown,) = json.loads(capsys.readouterr().out)
    assert (shown["number"], shown["level"], shown["text"]) == (1, "warning", "careful\x1b[2J")
    assert main(["log", "work/nobody"]) == 3
