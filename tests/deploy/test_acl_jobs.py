"""`deploy/redis/users.acl` at real servers: every user does its whole work and is refused nothing."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

import pytest
from tests.chaos.kit import until, wait_until
from tests.deploy.acl_kit import guarded
from tests.deploy.kit import ENGINES
from tests.integration.command import Command

from microbatch.common.keys import QueueKeys
from microbatch.console.main import main
from microbatch.producer import AsyncClient, Client, JobCancelled, JobExpired, JobFailed, NotReplicated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.deploy.acl_kit import Guarded

KEYS = QueueKeys("echo")
LIMIT_S = 20.0
TASKS = """
from microbatch.worker import Retry, Schedule, batch_processor

@batch_processor(queue="echo", max_wait_ms=1)
def echo(batch_payloads):
    return [answer(value) for value in batch_payloads]

asked = set()

def answer(value):
    if value == "bad":
        return ValueError("bad")
    if isinstance(value, str) and value.startswith("again") and value not in asked:
        asked.add(value)
        return Retry(delay_s=0.01)
    return value

ticks = Schedule("tick", queue="echo", every_s=3600, payload="tick")
"""


@pytest.fixture(scope="module", params=ENGINES)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """A server with a worker process at it."""
    here = tmp_path_factory.mktemp("worker")
    (here / "tasks.py").write_text(TASKS)
    with ExitStack() as stack:
        found = stack.enter_context(guarded(request.param))
        words = ("worker", "tasks:echo", "tasks:ticks")
        worker = stack.enter_context(Command(*words, redis_url=found.url("worker"), here=here))
        wait_until(lambda: found.root.zcard(KEYS.workers), LIMIT_S, "the worker's heartbeat")
        yield found
        worker.process.terminate()
        assert worker.end() == 0, worker.err
        assert not [line for line in worker.err if "NOPERM" in line or "refused" in line]


@pytest.fixture(autouse=True)
def nothing_is_refused(server: Guarded) -> Iterator[None]:
    """Also what our code would swallow; but what redis-py tries where the server is newer than 7.0."""
    server.root.acl_log_reset()
    yield
    assert {line for line in server.refused() if "client|setinfo" not in line} == set()


@pytest.fixture
def producer(server: Guarded) -> Iterator[Client]:
    with Client(server.url("producer")) as client:
        yield client


@pytest.fixture
def cli(server: Guarded, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Run the command as a user; its JSON."""

    def run(user: str, *words: str, code: int = 0) -> Any:
        capsys.readouterr()
        assert main([*words, "--json", "--redis-url", server.url(user)]) == code, capsys.readouterr()
        out = capsys.readouterr().out
        with suppress(json.JSONDecodeError):
            return json.loads(out)
        return out

    return run


@pytest.fixture
def failed(producer: Client) -> str:
    """The id of a job that failed for good."""
    job = producer.submit("echo", "bad")
    with pytest.raises(JobFailed):
        job.result(timeout_s=LIMIT_S)
    return job.id


def test_a_producer_submits_awaits_asks_and_cancels(producer: Client) -> None:
    assert producer.call("echo", 1, timeout_s=LIMIT_S) == 1
    assert producer.map("echo", range(300), timeout_s=LIMIT_S) == list(range(300))
    job = producer.submit("echo", "named", job_id=f"named-{time.monotonic_ns()}")
    assert producer.job(job.id).result(timeout_s=LIMIT_S) == "named"  # as another client would
    assert job.status().state == "succeeded"
    later = producer.submit("echo", "later", delay_s=60)
    assert later.status().state == "scheduled"
    later.cancel()
    with pytest.raises(JobCancelled):
        later.result(timeout_s=LIMIT_S)
    key = f"key-{time.monotonic_ns()}"
    first, second = (producer.submit("echo", key, unique_key=key, unique_for_s=60) for _ in range(2))
    assert first.id == second.id
    with pytest.raises(NotReplicated):  # there are no replicas; the job is accepted all the same
        producer.submit("echo", "safe", durability="replicated", timeout_s=1.0)


def test_a_worker_retries_expires_quarantines_and_takes_over(server: Guarded, producer: Client) -> None:
    again = producer.submit("echo", f"again-{time.monotonic_ns()}", max_attempts=3)
    again.result(timeout_s=LIMIT_S)
    assert again.status().attempt == 2
    with pytest.raises(JobExpired):
        producer.submit("echo", "late", delay_s=0.05, expires_in_s=0.01).result(timeout_s=LIMIT_S)
    before: int = server.root.xlen(KEYS.dead)
    server.root.xadd(KEYS.lane("main"), {"what": "foreign"})
    wait_until(lambda: server.root.xlen(KEYS.dead) > before, LIMIT_S, "the foreign entry's letter")
    held = producer.submit("echo", "held", delay_s=60)
    server.root.zadd(KEYS.workers, {"gone": time.time() * 1000 - 60_000})
    wait_until(lambda: server.root.zscore(KEYS.workers, "gone") is None, LIMIT_S, "the takeover")
    held.cancel()


def test_an_observer_sees_queues_jobs_letters_and_schedules(
    failed: str, cli: Callable[..., Any], producer: Client
) -> None:
    done = producer.submit("echo", "seen")
    done.result(timeout_s=LIMIT_S)

    (queue,) = cli("observer", "status")
    assert queue["queue"] == "echo"
    assert queue["workers"] == 1
    assert cli("observer", "result", done.id) == "seen"
    assert cli("observer", "result", done.id, "--wait") == "seen"
    cli("observer", "result", failed, code=1)
    assert any(letter["id"] == failed for letter in cli("observer", "dead", "list", "echo"))
    cli("observer", "dead", "show", "echo", failed.partition("/")[2])
    assert [schedule["name"] for schedule in cli("observer", "cron", "list")] == ["tick"]
    listed = [
        row for state in ("dead", "succeeded", "scheduled") for row in jobs_in(cli, "echo", "--state", state)
    ]
    assert {failed, done.id} <= {row["id"] for row in listed}
    assert jobs_in(cli, "echo", "--batch-key", "k") == []
    assert cli("observer", "job", "show", failed, "--payload")["payload"] == "bad"
    assert [row["queue"] for row in cli("observer", "top")["queues"]] == ["echo"]
    assert cli("observer", "batches", "echo")
    cli("observer", "log", done.id)


async def test_an_observer_watches_what_happens(server: Guarded, producer: Client) -> None:
    seen: list[str] = []

    async def listen() -> None:
        async for update in client.events("echo"):
            seen.append(update.id)
            if update.state.is_final:
                return

    async with AsyncClient(server.url("observer")) as client:
        listening = asyncio.create_task(listen())
        await until(lambda: bool(server.root.exists(KEYS.listeners)), LIMIT_S)
        job = await asyncio.to_thread(producer.submit, "echo", "watched")
        await asyncio.wait_for(listening, LIMIT_S)
    assert job.id in seen


def test_an_observer_is_told_how_a_lost_and_an_overdue_job_end_and_ends_neither(
    server: Guarded, producer: Client, cli: Callable[..., Any]
) -> None:
    lost = producer.submit("echo", "lost", delay_s=500)
    late = producer.submit("echo", "late", delay_s=500, expires_in_s=0.001)
    server.root.zrem(KEYS.scheduled, lost.id.partition("/")[2])
    records = [KEYS.job(job.id.partition("/")[2]) for job in (lost, late)]
    before = [server.root.dump(record) for record in records]

    cli("observer", "result", lost.id, "--wait", code=1)
    shown = [cli("observer", "job", "show", job.id) for job in (lost, late)]

    assert [row["state"] for row in shown] == ["failed", "expired"]
    assert shown[0]["error"]["type"] == "JobLost"
    assert [server.root.dump(record) for record in records] == before
    assert [job.status().state for job in (lost, late)] == ["failed", "expired"]  # who may write ends them


def jobs_in(cli: Callable[..., Any], *words: str) -> list[dict[str, Any]]:
    """All jobs that `job list` shows an observer, which has a line of JSON for each."""
    told = cli("observer", "job", "list", *words, "--all")
    return [json.loads(line) for line in told.splitlines()] if isinstance(told, str) else [told]


def test_an_observer_cancels_and_hastens_nobody(
    failed: str, cli: Callable[..., Any], producer: Client, server: Guarded
) -> None:
    later = producer.submit("echo", "later", delay_s=500, batch_key="other")

    for act in ("cancel", "retry"):
        cli("observer", "job", act, later.id, code=2)
        cli("observer", "job", act, "echo", "--state", "scheduled", "--batch-key", "other", "--yes", code=2)
    cli("observer", "job", "retry", failed, code=2)

    assert {line for line in server.refused() if "client|setinfo" not in line} == {"observer: persist"}
    server.root.acl_log_reset()  # the rest is allowed
    assert later.status().state == "scheduled"
    assert cli("admin", "job", "retry", later.id)["counts"] == {"due": 1, "redriven": 0}
    assert later.result(timeout_s=LIMIT_S) == "later"
    assert cli("admin", "job", "cancel", failed, code=1)["refused"] == [{"id": failed, "reason": "failed"}]


def test_an_observer_who_tries_to_retry_is_refused_before_anything_is_written(
    failed: str, cli: Callable[..., Any], server: Guarded
) -> None:
    def letters_and_record() -> Any:
        record = KEYS.job(failed.partition("/")[2])
        fields = server.root.hmget(record, ["state", "run", "entry", "attempt", "finished_ms"])
        return server.root.xlen(KEYS.dead), server.root.hlen(record), fields

    before = letters_and_record()

    cli("observer", "dead", "retry", "echo", failed, code=2)

    assert "observer: persist" in server.refused()
    server.root.acl_log_reset()
    assert letters_and_record() == before


def test_an_admin_retries_purges_and_schedules(failed: str, cli: Callable[..., Any]) -> None:
    cli("admin", "status")
    cli("admin", "dead", "list", "echo")
    cli("admin", "dead", "retry", "echo", failed)
    cli("admin", "result", failed, "--wait", "--timeout-s", str(LIMIT_S), code=1)  # it fails again
    cli("admin", "dead", "purge", "echo", failed)
    for words in (("add", "--every-s", "3600"), ("pause",), ("resume",), ("run-now",), ("remove",)):
        cli("admin", "cron", words[0], "echo", "mine", *words[1:])


def test_an_admin_orders_workers_and_an_observer_only_lists_them(
    cli: Callable[..., Any], server: Guarded
) -> None:
    (worker,) = [each for each in cli("observer", "workers") if each["id"] != "gone"]  # another test's
    for words in (
        ("ping",),
        ("stats",),
        ("resize", "2"),
        ("set", "max_batch_size", "9"),
        ("quiet",),
        ("resume",),
    ):
        (reply,) = cli("admin", "workers", "send", *words, "--worker", worker["id"])
        assert reply["status"] == "done"
    cli("admin", "queue", "limits", "echo", "max_batch_size=")
    cli("observer", "workers", "send", "ping", "--all", code=2)
    assert any(line.startswith("observer: ") for line in server.refused())
    server.root.acl_log_reset()


def test_an_admin_runs_the_doctor_who_finds_every_user_s_rights_complete(cli: Callable[..., Any]) -> None:
    for user, roles in (
        ("producer", ["producer"]),
        ("worker", ["worker"]),
        ("observer", ["observer"]),
        ("admin", ["observer", "operator"]),
    ):
        options = [word for role in roles for word in ("--role", role)]
        report = cli("admin", "doctor", "--user", user, *options)
        bad = [each for each in report["findings"] if each["severity"] != "ok" and "CVE-" not in each["fact"]]
        assert bad == [], user
