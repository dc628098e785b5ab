"""Metrics and health of a real worker, over HTTP and by `microbatch health`."""

from __future__ import annotations

import json
import signal
import threading
from typing import TYPE_CHECKING, Any

import pytest
from tests.integration.command import LIMIT_S, Command, free_port, ran_here, serving, until
from tests.integration.monitoring import asked, check_by_promtool, names, samples

from microbatch.common.embedded import EmbeddedServer
from microbatch.common.errors import JobFailed
from microbatch.producer import Client
from microbatch.worker import Batch, Retry, batch_processor
from microbatch.worker.metrics import WORKER_METRICS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TASKS = """
import os, time
from microbatch.worker import BatchProcessor, batch_processor

@batch_processor(queue="echo")
def echo(values):
    return values

@batch_processor(queue="wedged", max_wait_ms=0)
async def wedged(values):
    open("begun", "w").close()
    while not os.path.exists("go"):
        time.sleep(0.01)
    return values

class Slow(BatchProcessor):
    queue = "slow"
    def setup(self):
        while not os.path.exists("go"):
            time.sleep(0.01)
    def process(self, batch):
        return batch.payloads
"""


@batch_processor(queue="echo", max_wait_ms=1, max_batch_size=10)
def echo(values: list[Any]) -> list[Any]:
    return [ValueError(value) if value == "bad" else value for value in values]


@batch_processor(queue="again", max_wait_ms=0, max_batch_size=1, max_attempts=2, retry_backoff_s=0.001)
def again(batch: Batch[Any]) -> list[Any]:
    return [Retry() if job.attempt == 1 else job.attempt for job in batch]


@pytest.fixture
def address() -> str:
    """Where a worker of this process may serve its pages."""
    return f"127.0.0.1:{free_port()}"


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "tasks.py").write_text(TASKS)
    return tmp_path


@pytest.fixture
def client(redis_url: str) -> Iterator[Client]:
    with Client(redis_url) as client:
        yield client


class Watched:
    """A worker with its pages."""

    def __init__(self, command: Command) -> None:
        self.command = command
        self.address: str = json.loads(command.wait_for("pages_opened"))["address"]

    def says(self, path: str) -> tuple[int, str]:
        answer = asked(self.address, path)
        return answer.status, answer.text


def begin(here: Path, redis_url: str, *words: object, ready: bool = True, **variables: Any) -> Command:
    words = ("worker", *words, "--monitoring-address", "0")
    command = Command(*words, redis_url=redis_url, here=here, **variables)
    if ready:
        try:
            command.wait_for("is ready: ")
        except BaseException:
            command.__exit__()
            raise
    return command


# --- metrics --------------------------------------------------------------------------------


def test_a_worker_counts_what_it_does(address: str, redis_url: str, client: Client) -> None:
    with serving(redis_url, echo, again, monitoring_address=address):
        assert client.map("echo", range(20), timeout_s=LIMIT_S) == list(range(20))
        with pytest.raises(JobFailed):
            client.call("echo", "bad", timeout_s=LIMIT_S)
        assert client.call("again", 1, timeout_s=LIMIT_S) == 2
        # A result is there a moment before its batch has ended.
        last = ("microbatch_batches_total", ("again", "succeeded", "size"))
        until(lambda: samples(address).get(last) == 1, "the end of the last batch")
        seen = samples(address)

        assert seen["microbatch_jobs_total", ("echo", "succeeded")] == 20
        assert seen["microbatch_jobs_total", ("echo", "failed")] == 1
        assert seen["microbatch_dead_letters_total", ("echo",)] == 1
        assert seen["microbatch_batch_size_jobs_sum", ("echo",)] == 21
        assert seen["microbatch_job_latency_seconds_count", ("echo",)] == 21
        assert seen["microbatch_queue_wait_seconds_count", ("echo",)] == 21
        assert seen["microbatch_batch_slots", ("echo",)] == 1
        batches = [count for (name, _), count in seen.items() if name == "microbatch_batches_total"]
        runs = [count for (name, _), count in seen.items() if name == "microbatch_run_seconds_count"]
        assert sum(batches) == sum(runs)
        assert seen["microbatch_retries_total", ("again",)] == 1
        assert seen["microbatch_batches_total", ("echo", "failed", "wait")] == 1
        assert names(address) == set(WORKER_METRICS)
        check_by_promtool(address)


def test_what_is_in_flight_is_a_level(address: str, redis_url: str, client: Client) -> None:
    go = threading.Event()

    @batch_processor(queue="held", max_wait_ms=0)
    def held(values: list[Any]) -> list[Any]:
        go.wait(LIMIT_S)
        return values

    level = ("microbatch_jobs_in_flight", ("held",))
    with serving(redis_url, held, monitoring_address=address):
        assert samples(address)[level] == 0
        job = client.submit("held", 1)
        until(lambda: samples(address)[level] == 1, "a job in flight")
        go.set()
        assert job.result(timeout_s=LIMIT_S) == 1
        until(lambda: samples(address)[level] == 0, "the end of the flight")


def test_jobs_of_a_worker_that_died_are_counted_by_the_one_that_takes_them(
    here: Path, redis_url: str, client: Client
) -> None:
    limits: dict[str, Any] = {"MICROBATCH_HEARTBEAT_LIMIT_S": "1"}
    with begin(here, redis_url, "tasks:wedged", **limits) as dying:
        job = client.submit("wedged", 1)
        until((here / "begun").exists, "the batch")
        with begin(here, redis_url, "tasks:wedged", **limits) as command:
            worker, reclaimed = Watched(command), ("microbatch_reclaimed_jobs_total", ("wedged",))
            assert samples(worker.address)[reclaimed] == 0
            dying.tell(signal.SIGKILL)
            dying.process.wait(LIMIT_S)
            (here / "go").touch()  # the next run does not hang
            until(lambda: samples(worker.address)[reclaimed] == 1, "the take-over")
            assert job.result(timeout_s=LIMIT_S) == 1


def test_the_format_is_the_one_that_was_asked_for(address: str, redis_url: str) -> None:
    with serving(redis_url, echo, monitoring_address=address):
        openmetrics = asked(address, "/metrics", accept="application/openmetrics-text; version=1.0.0")
        assert openmetrics.content_type.startswith("application/openmetrics-text")
        assert openmetrics.text.endswith("# EOF\n")
        assert asked(address, "/metrics", accept="*/*").content_type.startswith("text/plain")
        assert asked(address, "/livez", method="HEAD") == (200, "text/plain; charset=utf-8", "")
        assert asked(address, "/secrets").status == 404


# --- health ---------------------------------------------------------------------------------


def test_probes_are_answered_while_processors_are_set_up(here: Path, redis_url: str) -> None:
    with begin(here, redis_url, "tasks:Slow", ready=False) as command:
        worker = Watched(command)
        assert worker.says("/livez") == (200, "ok\n")
        assert worker.says("/startupz")[0] == worker.says("/readyz")[0] == 503
        (here / "go").touch()
        until(lambda: worker.says("/readyz")[0] == 200, "readiness")
        assert worker.says("/startupz") == (200, "ok\n")


def test_a_wedged_loop_is_not_alive_and_is_again_when_it_turns(
    here: Path, redis_url: str, client: Client
) -> None:
    limits: dict[str, Any] = {"MICROBATCH_LIVENESS_LIMIT_S": "0.6", "MICROBATCH_LOOP_STALL_LIMIT_S": "0.6"}
    with begin(here, redis_url, "tasks:wedged", **limits) as command:
        worker = Watched(command)
        job = client.submit("wedged", 1)
        until(lambda: worker.says("/livez")[0] == 503, "the end of its life")
        assert "the event loop has been stuck" in worker.says("/livez")[1]
        assert samples(worker.address)["microbatch_jobs_in_flight", ("wedged",)] == 1
        until(lambda: samples(worker.address)["microbatch_loop_stalls_total", ()] == 1, "a stall that counts")
        (here / "go").touch()
        until(lambda: worker.says("/livez")[0] == 200, "its new life")
        assert job.result(timeout_s=LIMIT_S) == 1


def test_a_quiet_worker_is_alive_and_not_ready(here: Path, redis_url: str) -> None:
    with begin(here, redis_url, "tasks:echo") as command:
        worker = Watched(command)
        until(lambda: worker.says("/readyz")[0] == 200, "readiness")
        command.tell(signal.SIGTSTP)
        until(lambda: worker.says("/readyz")[0] == 503, "the quiet")
        assert worker.says("/livez")[0] == 200
        command.tell(signal.SIGCONT)
        until(lambda: worker.says("/readyz")[0] == 200, "readiness again")


def test_without_redis_it_is_alive_and_not_ready(here: Path) -> None:
    port = free_port()
    url = f"redis://127.0.0.1:{port}/0"
    with EmbeddedServer(port=port) as server:
        command = begin(here, url, "tasks:echo", MICROBATCH_COMMAND_TIMEOUT_S="1")
        with command:
            worker = Watched(command)
            until(lambda: worker.says("/readyz")[0] == 200, "readiness")
            server.stop()
            until(lambda: worker.says("/readyz")[0] == 503, "the loss")
            assert worker.says("/livez")[0] == 200
            errors = ("microbatch_redis_errors_total", ("echo", "heartbeat"))
            until(lambda: samples(worker.address).get(errors, 0) > 0, "an error that was counted")


def test_health_asks_for_scripts(here: Path, redis_url: str) -> None:
    with begin(here, redis_url, "tasks:echo") as command:
        worker = Watched(command)
        until(lambda: worker.says("/readyz")[0] == 200, "readiness")
        options = {"redis_url": redis_url, "here": here, "MICROBATCH_MONITORING_ADDRESS": worker.address}
        for words in ((), ("--live",), ("--started",), ("--ready",)):
            done = ran_here("health", *words, **options)  # type: ignore[arg-type] # a mixed dict
            assert done == (0, [(*words, "--ready")[0].lstrip("-")], [])
        command.tell(signal.SIGTSTP)
        until(lambda: worker.says("/readyz")[0] == 503, "the quiet")
        done = ran_here("health", **options)  # type: ignore[arg-type] # as above
        assert (done.code, done.out) == (1, [])
        assert done.err == ["microbatch health: not ready: it takes no work: it is quiet, or drains"]
        done = ran_here("health", "--json", **options)  # type: ignore[arg-type] # as above
        assert (done.code, done.err) == (1, [])
        assert done.out == ['{"ready": false, "why_not": ["it takes no work: it is quiet, or drains"]}']


def test_health_without_a_worker_is_a_no_and_without_an_address_wrong_usage(
    tmp_path: Path, redis_url: str
) -> None:
    done = ran_here("health", "--monitoring-address", free_port(), redis_url=redis_url, here=tmp_path)
    assert done.code == 1
    assert "nobody answers" in done.err[0]
    done = ran_here("health", redis_url=redis_url, here=tmp_path)
    assert done.code == 2
    assert "MICROBATCH_MONITORING_ADDRESS" in done.err[0]


def test_an_address_that_is_taken_may_be_free_at_the_next_start(here: Path, redis_url: str) -> None:
    with begin(here, redis_url, "tasks:echo") as command:
        taken = Watched(command).address
        done = ran_here("worker", "tasks:echo", "--monitoring-address", taken, redis_url=redis_url, here=here)
        assert done.code == 1  # no 2: a supervisor is to try again
        assert f"cannot listen at {taken}" in done.err[-1]
