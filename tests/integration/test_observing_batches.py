"""Why a job was batched as it was, and what its story was: from a client and from the command line."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from tests.chaos.kit import quick

from microbatch.console.main import main
from microbatch.producer import AsyncClient, Client, JobState
from microbatch.worker import Retry, Worker, batch_processor

if TYPE_CHECKING:
    import pytest


@batch_processor(queue="work", max_batch_size=4, max_wait_ms=1)
async def shout(texts: list[str]) -> list[str]:
    return [text.upper() for text in texts]


async def test_a_job_tells_its_batch_and_its_queue_tells_its_last_ones(redis_url: str) -> None:
    async with AsyncClient(redis_url) as client:
        jobs = await client.submit_many("work", list("abcd"))
        async with Worker([shout], settings=quick(redis_url)) as worker:
            await jobs[3].result(timeout_s=30)
            status = await jobs[0].status()
        (recent,) = await client.recent_batches("work")
        assert await client.recent_batches("never") == []

    batch = status.batch
    assert batch is not None
    assert (batch.batch_size, batch.reason, batch.worker) == (4, "size", worker.id)
    assert batch.queued_ms is not None
    assert batch.queued_ms == batch.waited_ms
    assert batch.run_ms is not None
    assert batch.run_ms >= 0
    assert (recent.batch_id, recent.batch_size, recent.worker) == (batch.batch_id, 4, worker.id)
    assert (recent.reason, recent.waited_ms) == ("size", batch.waited_ms)
    assert recent.started_at == status.started_at
    assert recent.finished_at >= recent.started_at


async def test_the_story_of_a_job_that_was_asked_again(redis_url: str) -> None:
    runs = 0

    @batch_processor(queue="work", max_wait_ms=0)
    async def second_time(items: list[str]) -> list[object]:
        nonlocal runs
        runs += 1
        return [Retry("not yet", delay_s=0) if runs == 1 else "done" for _ in items]

    async with AsyncClient(redis_url) as client, Worker([second_time], settings=quick(redis_url)) as worker:
        job = await client.submit("work", "x")
        await job.result(timeout_s=30)
        status = await job.status()

    steps = status.timeline
    assert [step.event for step in steps] == [
        *("submitted", "claimed", "retried", "promoted", "claimed", "succeeded")
    ]
    assert [step.worker for step in steps] == [None, worker.id, worker.id, None, worker.id, worker.id]
    assert steps[1].batch_id != steps[4].batch_id
    assert steps[2].error is not None
    assert (steps[2].error.type, steps[2].error.message) == ("Retry", "not yet")
    assert steps[2].state is JobState.SCHEDULED
    assert status.last_error is not None
    assert status.last_error.message == "not yet"


def test_the_command_shows_batches_as_a_table_and_as_json(
    redis_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MICROBATCH_REDIS_URL", redis_url)

    async def work() -> None:
        async with AsyncClient(redis_url) as client, Worker([shout], settings=quick(redis_url)):
            await client.map("work", list("abcd"), timeout_s=30)

    asyncio.run(work())
    assert main(["batches", "work"]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split()[:5] == ["FINISHED", "SIZE", "REASON", "WAITED_MS", "RUN_MS"]
    assert main(["batches", "work", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert len(shown) == len(rows)
    assert sum(batch["batch_size"] for batch in shown) == 4
    with Client(redis_url) as client:
        assert [batch.batch_id for batch in client.recent_batches("work")] == [
            batch["batch_id"] for batch in shown
        ]
    assert main(["batches", "wrok"]) == 3
    assert "did you mean work?" in capsys.readouterr().err
