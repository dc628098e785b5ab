"""One contract for every place where a processor can run: on the loop, in a thread, in a child process."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.chaos.kit import quick, until, wait_until
from tests.integration import executor_processors as processors

from microbatch.common.errors import ProcessorError
from microbatch.producer import AsyncClient, Client, JobFailed, JobState
from microbatch.worker import Batch, BatchProcessor, BatchTimeout, Worker, batch_processor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ROOT = Path(__file__).parents[2]
EVERYWHERE = [processors.misbehaves_async, processors.misbehaves, processors.in_process]
BY_NAME = pytest.mark.parametrize("processor", EVERYWHERE, ids=["async", "thread", "process"])


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(redis_url) as client:
        yield client


async def outcomes(client: AsyncClient, payloads: list[Any]) -> list[Any]:
    """The result, or the error type, of each."""
    found = await client.map("work", payloads, timeout_s=40, return_exceptions=True)
    return [each.error_type if isinstance(each, JobFailed) else each for each in found]


@BY_NAME
async def test_bad_jobs_fail_alone_and_their_mates_succeed(
    client: AsyncClient, redis_url: str, processor: object
) -> None:
    payloads = [1, "raise", 2, "error", "flaky", "circular", "large", 3, "exit 1", 4, "exit 0"]
    async with Worker([processor], settings=quick(redis_url)):
        found = await outcomes(client, payloads)
    assert found == [
        1,
        "ValueError",
        2,
        "OSError",
        2,
        "PayloadError",
        "ResultTooLarge",
        3,
        "SystemExit",
        4,
        "SystemExit",
    ]


@BY_NAME
async def test_a_wrong_count_fails_the_whole_batch(
    client: AsyncClient, redis_url: str, processor: object
) -> None:
    jobs = await client.submit_many("work", ["wrong count", 1])
    async with Worker([processor], settings=quick(redis_url)):
        for job in jobs:
            with pytest.raises(JobFailed, match="ResultMismatch"):
                await job.result(timeout_s=20)


async def test_a_dying_child_costs_only_its_batch_and_only_the_culprit_fails(
    client: AsyncClient, redis_url: str
) -> None:
    payloads: list[Any] = [*range(10), "die", *range(10, 20), "raise", "pid"]
    async with Worker([processors.in_process], settings=quick(redis_url)):
        found = await outcomes(client, payloads)
        dead = (await client.queue_status("work")).dead
    assert found[:-1] == [*range(10), "WorkerLost", *range(10, 20), "ValueError"]
    assert found[-1] != os.getpid()
    assert dead == 2


async def test_a_child_that_is_killed_while_it_waits_is_replaced(client: AsyncClient, redis_url: str) -> None:
    async with Worker([processors.in_process], settings=quick(redis_url)):
        pid = await client.call("work", "pid", timeout_s=20)
        os.kill(pid, signal.SIGKILL)
        assert await client.call("work", "pid", timeout_s=20) not in {pid, os.getpid()}


async def test_the_end_of_a_child_is_seen_although_its_own_child_lives_on(
    client: AsyncClient, redis_url: str
) -> None:
    async with Worker([processors.in_process], settings=quick(redis_url, max_crashes=1)):
        assert await outcomes(client, ["die with a fork"]) == ["WorkerLost"]


async def test_a_processor_in_a_child_sees_that_its_job_was_cancelled(
    client: AsyncClient, redis_url: str, tmp_path: Path
) -> None:
    seen = tmp_path / "seen"
    job = await client.submit("work", str(seen))
    async with Worker([processors.Watches], settings=quick(redis_url)):
        await until((tmp_path / "seen-begun").exists)
        assert await job.cancel()
        await until(seen.exists)


async def test_a_worker_whose_children_cannot_be_set_up_again_takes_no_more_work(
    client: AsyncClient, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(ROOT)

    async def work() -> None:
        async with Worker([processors.OnlyOnce], settings=quick(redis_url)) as worker:
            assert await client.call("work", 1, timeout_s=20) == 1
            await client.submit_many("work", ["die", 2])
            await until(lambda: worker.retirement.is_stuck)

    with pytest.raises(BatchTimeout, match="no child process for OnlyOnce can be started"):
        await work()
    assert (await client.queue_status("work")).waiting == 2


async def test_a_hung_child_is_killed_and_its_job_fails(client: AsyncClient, redis_url: str) -> None:
    async with Worker([processors.in_process], settings=quick(redis_url, batch_timeout_s=1)):
        pid = await client.call("work", "pid", timeout_s=20)
        hung = await client.submit("work", "hang")
        with pytest.raises(JobFailed, match="BatchTimeout"):
            await hung.result(timeout_s=20)
        assert await client.call("work", "pid", timeout_s=20) != pid
    await until(lambda: not _is_alive(pid))


async def test_children_are_set_up_and_replaced_after_their_share(
    client: AsyncClient, redis_url: str
) -> None:
    async with Worker([processors.Counted], settings=quick(redis_url)):
        found = [await client.call("work", n, timeout_s=20) for n in range(4)]
    assert [batches for _, batches in found] == [1, 2, 1, 2]
    assert len({pid for pid, _ in found}) == 2
    await until(lambda: not any(_is_alive(pid) for pid, _ in found))


@BY_NAME
async def test_with_retry_a_batch_that_raises_runs_again_wherever_it_runs(
    client: AsyncClient, redis_url: str, processor: object
) -> None:
    jobs = await client.submit_many("work", ["raise", 1])
    settings = quick(redis_url, on_batch_error="retry", retry_backoff_s=0)
    async with Worker([processor], settings=settings):
        with pytest.raises(JobFailed, match="ValueError"):
            await jobs[0].result(timeout_s=20)
    assert (await jobs[0].status()).attempt == 5


async def test_a_setup_that_fails_in_the_child_is_the_workers_failure(redis_url: str) -> None:
    with pytest.raises(ProcessorError, match="no such model"):
        await Worker([processors.Refuses], settings=quick(redis_url)).start()


def test_what_a_child_cannot_import_is_refused_with_a_sentence() -> None:
    @batch_processor(queue="work", executor="process")
    def local(items: list[int]) -> list[int]:
        return items

    class WithState(BatchProcessor[Any, Any]):
        queue = "work"
        executor = "process"

        def process(self, batch: Batch[Any]) -> list[Any]:
            return batch.payloads

    for processor in (local, WithState()):
        with pytest.raises(ProcessorError, match="top level of a module"):
            Worker([processor], settings=quick("redis://nowhere.invalid"))


async def test_an_async_processor_that_hangs_is_cancelled(client: AsyncClient, redis_url: str) -> None:
    cancelled: list[Any] = []

    @batch_processor(queue="work", max_wait_ms=0, batch_timeout_s=0.2)
    async def process(batch: Batch[Any]) -> list[Any]:
        try:
            await asyncio.sleep(0 if "fine" in batch.payloads else 60)
        except asyncio.CancelledError:
            cancelled.append(batch.payloads)
            raise
        return batch.payloads

    async with Worker([process], settings=quick(redis_url)):
        hung = await client.submit("work", "hangs")
        with pytest.raises(JobFailed, match="BatchTimeout"):
            await hung.result(timeout_s=30)
        assert await client.call("work", "fine", timeout_s=30) == "fine"
        status = await hung.status()
    assert cancelled == [["hangs"]]
    assert status.state is JobState.FAILED


async def test_the_mates_of_a_hanging_job_run_alone_and_succeed(client: AsyncClient, redis_url: str) -> None:
    @batch_processor(queue="work", max_batch_size=8, max_wait_ms=0, batch_timeout_s=0.2)
    async def process(batch: Batch[Any]) -> list[Any]:
        if "hangs" in batch.payloads:
            await asyncio.sleep(60)
        return batch.payloads

    jobs = await client.submit_many("work", [1, "hangs", 2])
    async with Worker([process], settings=quick(redis_url)):
        assert [await jobs[0].result(timeout_s=20), await jobs[2].result(timeout_s=20)] == [1, 2]
        with pytest.raises(JobFailed, match="BatchTimeout"):
            await jobs[1].result(timeout_s=20)


@pytest.mark.parametrize("policy", ["bisect", "fail"])
async def test_what_is_done_about_a_raising_batch_is_the_processors_choice(
    client: AsyncClient, redis_url: str, policy: str
) -> None:
    sizes: list[int] = []

    @batch_processor(queue="work", max_batch_size=64, max_wait_ms=0, on_batch_error=policy)
    async def process(batch: Batch[Any]) -> list[Any]:
        sizes.append(len(batch))
        if "poison" in batch.payloads:
            raise ValueError("poison")
        return [job.attempt for job in batch]

    payloads: list[Any] = [*range(40), "poison", *range(23)]
    jobs = await client.submit_many("work", payloads)
    async with Worker([process], settings=quick(redis_url)):
        found = [await asyncio.gather(job.result(timeout_s=20), return_exceptions=True) for job in jobs]
    good = [each for [each] in found if each == 1]
    assert len(good) == (63 if policy == "bisect" else 0)
    assert sizes[0] == 64
    assert len(sizes) <= 1 + 2 * 6


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_children_of_a_worker_process_end_with_it_and_not_before(redis_url: str, number: int) -> None:
    command = [sys.executable, "-m", "microbatch.console", "worker"]
    target = "tests.integration.executor_processors:in_process"
    worker = subprocess.Popen([*command, target, "--redis-url", redis_url], cwd=ROOT, start_new_session=True)
    try:
        with Client(redis_url) as client:
            pid = client.call("work", "pid", timeout_s=30)
            assert pid != worker.pid
            running = client.submit("work", "slow")
            wait_until(lambda: running.status().state is JobState.RUNNING)
            if number == signal.SIGTERM:
                os.killpg(worker.pid, number)  # as a terminal does: to all of them
            else:
                worker.kill()
            code = worker.wait(20)
            if number == signal.SIGTERM:
                assert (code, running.result(timeout_s=30)) == (0, "slow")
        wait_until(lambda: not _is_alive(pid))
    finally:
        worker.kill()
        worker.wait(10)


def test_a_child_whose_worker_is_gone_before_it_has_started_ends_without_a_word() -> None:
    ours, theirs = socket.socketpair()
    our_log, their_log = socket.socketpair()
    our_side, their_side = socket.socketpair()  # held until the end: it is the line that tells, not this one
    descriptors = [str(each.fileno()) for each in (theirs, their_side, their_log)]
    for each in (ours, our_log):
        each.close()
    ended = subprocess.run(
        [
            sys.executable,
            "-m",
            "microbatch.worker.child_main",
            *descriptors,
            processors.__name__,
            "in_process",
        ],
        pass_fds=[int(number) for number in descriptors],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    for each in (theirs, their_log, our_side, their_side):
        each.close()
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
