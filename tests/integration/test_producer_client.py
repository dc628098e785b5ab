"""The blocking client: threads, notebooks, forks, and its end."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import redis
from tests.integration.test_producer_stand_in import bad, echo, working

from microbatch.producer import (
    Client,
    ClientClosed,
    ClientSettings,
    JobFailed,
    JobHandle,
    QueueFull,
    ResultTimeout,
)
from microbatch.producer.portal import BlockingCallWarning, Portal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from microbatch.common.jobs.entry import Entry


def odd_fail(entry: Entry) -> tuple[bool, bytes]:
    return bad(entry) if entry.payload == b"\x01" else echo(entry)


@pytest.fixture
def worker(redis_url: str) -> Iterator[None]:
    """A stand-in that works in a thread of its own; payload 1 fails."""
    loop, ready = asyncio.new_event_loop(), threading.Event()
    leave = asyncio.Event()

    async def serve() -> None:
        async with working(redis_url, answer=odd_fail):
            ready.set()
            await leave.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert ready.wait(10)
    yield
    loop.call_soon_threadsafe(leave.set)
    thread.join()
    loop.close()


@pytest.fixture
def client(redis_url: str) -> Iterator[Client]:
    with Client(redis_url) as client:
        yield client


def test_every_method_works_from_a_plain_thread(client: Client, worker: None) -> None:
    job = client.submit("q", "x")

    assert job.result(timeout_s=30) == "x"
    assert job.result() == "x"
    assert job.status().worker == "host:1:standin"
    assert (job.queue, job.result_key) == ("q", f"mb:{{q}}:job:{job.id[2:]}")
    assert repr(job) == f"<JobHandle {job.id} succeeded>"
    assert client.call("q", [1], timeout_s=30) == [1]
    assert client.job(job.id).result(timeout_s=30) == "x"
    assert client.map("q", iter(range(2, 30)), timeout_s=10) == list(range(2, 30))
    assert client.queues() == ["q"]
    assert client.queue_status("q").waiting == 0
    jobs = client.submit_many("q", range(300))
    finished = list(client.as_completed(jobs, timeout_s=30))
    assert {id(job) for job in finished} == {id(job) for job in jobs}
    with pytest.raises(JobFailed):
        jobs[1].result()
    assert client.submit_many("q", []) == []


def test_64_threads_share_round_trips(client: Client, worker: None, redis_url: str) -> None:
    barrier = threading.Barrier(64)

    def call(number: int) -> int:
        barrier.wait()
        job = client.submit("q", 100 + number)
        return int(job.result(timeout_s=30)) - 100

    with ThreadPoolExecutor(64) as threads:
        assert list(threads.map(call, range(64))) == list(range(64))
    names = [thread.name for thread in threading.enumerate()]
    assert names.count("microbatch-producer") == 1


def test_leaving_a_loop_over_finished_jobs_early_waits_for_nothing(client: Client) -> None:
    jobs = client.submit_many("q", range(10))
    with pytest.raises(ResultTimeout):
        next(client.as_completed(jobs, timeout_s=0.01))
    with pytest.raises(ResultTimeout):
        jobs[0].result(timeout_s=0.01)


def test_an_iterable_runs_in_the_callers_thread_and_may_use_the_client(client: Client) -> None:
    names = []

    def payloads() -> Iterator[str]:
        for _ in range(3):
            names.append(threading.current_thread().name)
            yield client.submit("q", "first").id

    jobs = client.submit_many("q", payloads())

    assert len(jobs) == 3
    assert set(names) == {threading.current_thread().name}


def test_a_full_queue_tells_which_jobs_were_accepted_over_all_parts(redis_url: str) -> None:
    settings = ClientSettings(redis_url=redis_url, max_queue_length=5000)
    with Client(settings=settings) as client, pytest.raises(QueueFull) as caught:
        client.submit_many("q", iter(range(6000)))

    assert len(caught.value.accepted) == 5000
    assert all(isinstance(job, JobHandle) for job in caught.value.accepted)


async def test_it_works_where_a_loop_runs_and_warns_once(
    redis_url: str, worker: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Portal, "_warned", False)
    with Client(redis_url) as client:
        with pytest.warns(BlockingCallWarning, match="AsyncClient") as caught:
            assert client.call("q", "x", timeout_s=30) == "x"
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert client.call("q", "y", timeout_s=30) == "y"

        assert [warning.filename for warning in caught] == [__file__]


def in_child(client: Client, job: JobHandle, answers: Any) -> None:
    client_id_before = client.call("q", "from the child", timeout_s=20)
    names = [thread.name for thread in threading.enumerate()]
    answers.put((client_id_before, job.result(timeout_s=20), names.count("microbatch-producer")))
    client.close()


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_gets_its_own_loop_and_the_parents_goes_on(client: Client, worker: None) -> None:
    fork = multiprocessing.get_context("fork")
    job = client.submit("q", "from the parent")
    answers = fork.SimpleQueue()
    child = fork.Process(target=in_child, args=(client, job, answers))
    child.start()

    assert answers.get() == ("from the child", "from the parent", 1)
    assert client.call("q", "still here", timeout_s=30) == "still here"

    child.join(20)
    assert child.exitcode == 0
    assert client.map("q", range(10, 20), timeout_s=30) == list(range(10, 20))


def test_a_closed_client_refuses_and_frees_its_thread(redis_url: str) -> None:
    client = Client(redis_url)
    job = client.submit("q", 1)
    client.close()
    client.close()

    for ask in (job.result, job.status, client.queues, client.open):
        with pytest.raises(ClientClosed):
            ask()
    assert "microbatch-producer" not in [thread.name for thread in threading.enumerate()]
    with redis.Redis.from_url(redis_url, decode_responses=True) as raw:
        assert "microbatch-producer" not in [each["name"] for each in raw.client_list()]


def test_closing_in_one_thread_ends_the_wait_of_another(redis_url: str) -> None:
    client = Client(redis_url)
    job = client.submit("q", 1)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(job.result)
        while not client._portal._open or not _awaited(client):
            pass
        client.close()

        assert isinstance(waiting.exception(20), ClientClosed)


def _awaited(client: Client) -> bool:
    opened = client._portal._open
    session = opened[1]._session if opened else None
    return session is not None and any(box.awaited for box in session.inbox._mailboxes.values())


def test_a_program_that_never_closes_its_client_ends_cleanly(redis_url: str) -> None:
    program = (
        "import sys; from microbatch.producer import Client; print(Client(sys.argv[1]).submit('q', 1).id)"
    )
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, redis_url],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
        env=os.environ | {"PYTHONASYNCIODEBUG": "1"},
    )

    assert ended.stderr == ""
