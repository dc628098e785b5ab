"""Unique keys through the SDK and the command line: whoever submits, one job runs, and all get its result."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from redis.exceptions import ConnectionError  # noqa: A004 - redis-py's own
from tests.chaos.kit import quick

from microbatch.common.connection.lines import Lines
from microbatch.common.scripts.script import load
from microbatch.console.main import main
from microbatch.producer import AsyncClient, Client, ClientSettings, JobCancelled, JobFailed, SubmitTimeout
from microbatch.worker import BatchProcessor, Worker, batch_processor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PROCESSES = 6
SUBMITTER = """
import sys
from microbatch.producer import Client

with Client(sys.argv[1]) as client:
    client.queues()
    print("ready", flush=True)
    sys.stdin.readline()
    unique = {"unique_key": "report 7/ä", "unique_for_s": 60}
    jobs = [client.submit("work", [sys.argv[2], n], **unique) for n in range(5)]
    print(*{job.id for job in jobs}, *{str(job.result(timeout_s=30)) for job in jobs}, sep="\\n")
"""


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(redis_url) as client:
        yield client


def counting(ran: list[Any]) -> BatchProcessor[Any, Any]:
    @batch_processor(queue="work", max_wait_ms=0)
    async def work(payloads: list[Any]) -> list[Any]:
        ran.extend(payloads)
        return [ValueError(payload) if payload == "bad" else len(ran) for payload in payloads]

    return work


@pytest.mark.long
async def test_of_many_processes_that_submit_at_once_one_job_runs_and_all_get_its_result(
    client: AsyncClient, redis_url: str
) -> None:
    ran: list[Any] = []
    processes = [
        subprocess.Popen(  # noqa: ASYNC220 - six of them, started before anything is awaited
            [sys.executable, "-c", SUBMITTER, redis_url, str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(PROCESSES)
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            assert await asyncio.to_thread(process.stdout.readline) == "ready\n"
        async with Worker([counting(ran)], settings=quick(redis_url)):
            answers = await asyncio.gather(
                *(asyncio.to_thread(process.communicate, "go\n", 60) for process in processes)
            )
    finally:
        for process in processes:
            process.kill()
            process.wait()

    assert len(ran) == 1
    assert len({output for output, _ in answers}) == 1  # one id and one result, everywhere
    assert answers[0][0].splitlines()[1:] == ["1"]


async def test_each_of_several_submits_that_leave_together_gets_its_own_answer(client: AsyncClient) -> None:
    await client.submit("work", 1, job_id="known")
    holder = await client.submit("work", 2, unique_key="taken")

    again, joined, fresh = await asyncio.gather(
        client.submit("work", 1, job_id="known"),
        client.submit("work", 3, unique_key="taken"),
        client.submit("work", 4),
    )

    assert (again.id, joined.id) == ("work/known", holder.id)
    assert fresh.id not in {again.id, joined.id}


async def test_the_first_jobs_payload_counts(client: AsyncClient, redis_url: str) -> None:
    ran: list[Any] = []
    first = await client.submit("work", "one", unique_key="k")
    second = await client.submit("work", "two", unique_key="k")
    other = await client.submit("work", "three", unique_key="l")
    assert first.id == second.id != other.id

    async with Worker([counting(ran)], settings=quick(redis_url)):
        assert await second.result(timeout_s=30) == await first.result(timeout_s=30)
        await other.result(timeout_s=30)
    assert sorted(ran) == ["one", "three"]


async def test_single_flight_calls_share_a_result_that_nobody_wants_kept(redis_url: str) -> None:
    ran: list[Any] = []
    async with (
        AsyncClient(redis_url) as one,
        AsyncClient(redis_url) as two,
        Worker([counting(ran)], settings=quick(redis_url)),
    ):
        calls = [
            client.call("work", 1, unique_key="k", unique_for_s=5, result_ttl_s=0, timeout_s=20)
            for client in (one, two) * 8
        ]
        assert set(await asyncio.gather(*calls)) == {1}


async def test_a_job_that_failed_or_was_cancelled_gives_its_key_back(
    client: AsyncClient, redis_url: str
) -> None:
    waiting = await client.submit("work", 1, unique_key="k", unique_for_s=600)
    await waiting.cancel()
    async with Worker([counting([])], settings=quick(redis_url)):
        bad = await client.submit("work", "bad", unique_key="k", unique_for_s=600)
        with pytest.raises(JobFailed):
            await bad.result(timeout_s=30)
        good = await client.submit("work", "good", unique_key="k", unique_for_s=600)
        await good.result(timeout_s=30)
        assert len({waiting.id, bad.id, good.id}) == 3
        assert (await client.submit("work", "again", unique_key="k")).id == good.id
    with pytest.raises(JobCancelled):
        await waiting.result(timeout_s=30)


async def test_the_blocking_client_knows_unique_keys(redis_url: str) -> None:
    def submit() -> set[str]:
        with Client(redis_url) as blocking:
            return {blocking.submit("work", n, unique_key="k").id for n in range(3)}

    assert len(await asyncio.to_thread(submit)) == 1


async def test_what_cannot_be_is_refused_before_anything_is_sent(client: AsyncClient) -> None:
    with pytest.raises(ValueError, match="1 to 256"):
        await client.submit("work", 1, unique_key="")
    with pytest.raises(ValueError, match="goes with unique_key"):
        await client.submit("work", 1, unique_for_s=5)
    with pytest.raises(ValueError, match="0 to"):
        await client.submit("work", 1, unique_key="k", unique_for_s=-1)
    with pytest.raises(ValueError, match="single job"):
        await client.submit_many("work", [1, 2], unique_key="k")
    assert await client.queues() == []


def test_the_command_line_answers_with_the_first_jobs_id(
    redis_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["submit", "work", "1", "--redis-url", redis_url, "--unique-key", "a b", "--json"]
    assert main(words) == 0
    assert main([*words, "--unique-for-s", "5"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert json.loads(first) == json.loads(second)


@pytest.mark.parametrize(
    "words", [["1", "--unique-for-s", "5"], ["--file", "-", "--unique-key", "k"], ["1", "--unique-key", ""]]
)
def test_the_command_line_refuses_what_makes_no_sense(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["submit", "work", *words]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


class Astray:
    """A network that keeps one submit back: its sender gives it up, and it may arrive later."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._send = Lines.send
        self._lines: Lines | None = None
        self._kept: tuple[Any, ...] = ()
        self.answered = asyncio.Event()
        """Its repetition is."""
        monkeypatch.setattr(Lines, "send", lambda lines, *command: self._sent(lines, command))

    async def _sent(self, lines: Lines, command: tuple[Any, ...]) -> Any:
        is_submit = command[:2] == ("EVALSHA", load("submit").sha)
        if is_submit and not self._kept:
            self._lines, self._kept = lines, command
            raise ConnectionError("the line is dead")
        reply = await self._send(lines, *command)
        if is_submit:
            self.answered.set()
        return reply

    async def arrive(self) -> bool:
        """It is executed now; whether its job is accepted."""
        assert self._lines is not None
        return bool(await self._send(self._lines, *self._kept) == 1)


async def submitting_again(client: AsyncClient, astray: Astray, **options: Any) -> Any:
    """A submit whose repetition was told that another job has its key."""
    asking = asyncio.create_task(client.submit("work", 2, unique_key="k", job_id="mine", **options))
    await astray.answered.wait()
    return asking


@pytest.fixture
async def hasty(redis_url: str) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(settings=ClientSettings(redis_url=redis_url, command_timeout_s=2)) as client:
        yield client


async def test_a_submit_that_was_lost_on_its_way_and_arrives_when_the_key_is_free_is_its_callers_job(
    hasty: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await hasty.submit("work", 1, unique_key="k")
    astray = Astray(monkeypatch)
    asking = await submitting_again(hasty, astray)
    await first.cancel()
    await astray.arrive()

    assert (await asking).id == "work/mine"
    assert (await hasty.queue_status("work")).waiting == 1


async def test_whoever_was_given_anothers_job_has_none_of_his_own_later(
    hasty: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await hasty.submit("work", 1, unique_key="k")
    astray = Astray(monkeypatch)
    assert (await (await submitting_again(hasty, astray))).id == first.id

    await first.cancel()
    assert not await astray.arrive()
    assert (await hasty.queue_status("work")).waiting == 0


async def test_whoever_has_not_the_time_to_find_out_whose_job_it_is_is_told_so(
    hasty: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await hasty.submit("work", 1, unique_key="k")
    asking = await submitting_again(hasty, Astray(monkeypatch), timeout_s=1)
    with pytest.raises(SubmitTimeout):
        await asking
