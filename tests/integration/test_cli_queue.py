"""`microbatch queue` on a real server, with a real worker: what it does, prints and exits with."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.integration.command import LIMIT_S, serving, until

from microbatch.producer import Client, JobCancelled, QueueDraining, QueueFull
from microbatch.worker import batch_processor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Run = Callable[..., tuple[int, str, str]]


@batch_processor(queue="echo")
def echo(values: list[Any]) -> list[Any]:
    return values


@pytest.fixture
def run(redis_url: str, run_main: Callable[..., Run]) -> Run:
    """Runs `microbatch` in this process: its code, stdout and stderr."""
    return run_main(redis_url)


@pytest.fixture
def client(redis_url: str) -> Iterator[Client]:
    with Client(redis_url) as client:
        client.submit("echo", 0, job_id="first").cancel()  # the queue is known
        yield client


@pytest.fixture
def worker(redis_url: str) -> Iterator[None]:
    with serving(redis_url, echo):
        yield


def status(run: Run) -> dict[str, Any]:
    code, out, _ = run("status", "echo", "--json")
    assert code == 0
    row: dict[str, Any]
    (row,) = json.loads(out)
    return row


@pytest.mark.usefixtures("worker")
def test_a_paused_queue_keeps_its_jobs_until_it_is_resumed(run: Run, client: Client) -> None:
    code, out, err = run("queue", "pause", "echo")
    assert (code, err) == (0, "")
    assert out.startswith("echo: paused since ")
    jobs = client.submit_many("echo", range(50))
    row = status(run)
    assert (row["waiting"], row["running"]) == (50, 0)
    assert "@" in row["paused"]["who"]
    assert "paused since" in run("status")[1]

    assert run("queue", "resume", "echo")[:2] == (0, "echo: open\n")
    assert [job.result(timeout_s=LIMIT_S) for job in jobs] == list(range(50))
    assert status(run)["paused"] is None


def test_a_drain_refuses_submits_and_waits_until_the_queue_is_empty(
    run: Run, client: Client, redis_url: str
) -> None:
    jobs = client.submit_many("echo", range(5))
    assert run("queue", "drain", "echo", "--wait", "--timeout-s", "0.3")[0] == 4
    with pytest.raises(QueueDraining, match="microbatch queue resume echo"):
        client.submit("echo", 1)
    with pytest.raises(QueueDraining):
        client.submit_many("echo", [1, 2])
    code, _, err = run("submit", "echo", "1")
    assert (code, err.count("\n")) == (1, 1)

    with serving(redis_url, echo):
        code, out, _ = run("queue", "drain", "echo", "--wait", "--timeout-s", str(LIMIT_S))
    assert code == 0
    assert out.endswith(", empty\n")
    assert [job.result(timeout_s=LIMIT_S) for job in jobs] == list(range(5))
    run("queue", "resume", "echo")
    client.submit("echo", 1)


def test_a_purge_ends_every_waiting_job_and_nobody_waits_for_ever(run: Run, client: Client) -> None:
    jobs = [*client.submit_many("echo", range(600)), client.submit("echo", 1, delay_s=600)]
    code, out, _ = run("queue", "purge", "echo", "--yes")
    assert (code, out) == (0, "echo: cancelled 601 jobs\n")
    for job in (jobs[0], jobs[599], jobs[600]):
        with pytest.raises(JobCancelled):
            job.result(timeout_s=30)
    assert json.loads(run("queue", "purge", "echo", "--json")[1]) == {"queue": "echo", "cancelled": 0}


def test_limits_are_heeded_by_a_worker_that_runs_and_by_producers(
    run: Run, client: Client, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    @batch_processor(queue="echo", max_batch_size=2, max_wait_ms=0)
    def sizes(values: list[Any]) -> list[int]:
        return [len(values)] * len(values)

    caplog.set_level("INFO", "microbatch.worker")
    with serving(redis_url, sizes):
        code, out, _ = run("queue", "limits", "echo", "max_batch_size=3", "max_queue_length=7", "--json")
        assert code == 0
        assert json.loads(out)["limits"] == {"max_batch_size": "3", "max_queue_length": "7"}
        until(lambda: "an operator says max_batch_size=3" in caplog.text, "the limit at the worker")
        run("queue", "pause", "echo")
        jobs = client.submit_many("echo", range(7))
        with pytest.raises(QueueFull):
            client.submit("echo", 8)
        run("queue", "resume", "echo")
        assert sorted(job.result(timeout_s=LIMIT_S) for job in jobs) == [1, 3, 3, 3, 3, 3, 3]
        assert status(run)["max_batch_size"] == 3
        table = run("queue", "limits", "echo", "max_batch_size=", "max_queue_length=")[1]
        assert table.split() == ["LIMIT", "VALUE", "SAID", "BY", "max_batch_size", "2", "worker",
                                 "max_wait_ms", "0", "worker"]  # fmt: skip
        until(lambda: "own limits hold again" in caplog.text, "its end")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("pause", "nowhere"), 3),
        (("pause", "echo", "x=1"), 2),
        (("pause", "echo", "--wait"), 2),
        (("drain", "echo", "--timeout-s", "1"), 2),
        (("limits", "echo", "max_batch_size"), 2),
        (("limits", "echo", "max_batch_size=0"), 2),
        (("limits", "echo", "max_batch_size=2.5"), 2),
        (("limits", "echo", "weight=2"), 2),
        (("limits", "echo", "max_batch_size@k=2"), 2),
        (("limits", "echo", "size=2"), 2),
        (("explode", "echo"), 2),
        (("pause", "no queue"), 2),
    ],
)
@pytest.mark.usefixtures("client")
def test_wrong_usage_is_told_in_one_line(run: Run, words: tuple[str, ...], code: int) -> None:
    done, out, err = run("queue", *words)
    assert (done, out, err.count("\n")) == (code, "", 1)
