"""`microbatch worker` as a process: its start, its log, its signals, its exit codes."""

from __future__ import annotations

import json
import signal
import socket
from typing import TYPE_CHECKING

import pytest
import redis
from tests.integration.command import LIMIT_S, Command, ran, ran_here, until

from microbatch.producer import Client

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# `held` stays in its batch until the file `go` is there; `stuck` blocks the event loop itself.
TASKS = """
import gc, os, sys, time
from microbatch.worker import BatchProcessor, batch_processor

def hold():
    while not os.path.exists("go"):
        time.sleep(0.01)

@batch_processor(queue="echo", max_wait_ms=1)
def echo(values):
    return values

@batch_processor(queue="sizes", max_wait_ms=2000)
def sizes(values):
    return [len(values)] * len(values)

@batch_processor(queue="held", max_wait_ms=0, max_batch_size=1)
def held(values):
    open("begun", "w").close()
    hold()
    return values

@batch_processor(queue="stuck", max_wait_ms=0)
async def stuck(values):
    open("begun", "w").close()
    hold()
    return values

@batch_processor(queue="echo", max_wait_ms=1)
def echo_too(values):
    return values

@batch_processor(queue="hung", max_wait_ms=0, batch_timeout_s=0.2)
def hung(values):
    if "hangs" in values:
        time.sleep(60)
    return values

@batch_processor(queue="blocked", max_wait_ms=0, batch_timeout_s=0.2)
async def blocked(values):
    time.sleep(60)

@batch_processor(queue="frozen")
def frozen(values):
    return [gc.get_freeze_count()] * len(values)

@batch_processor(queue="frozen-child", executor="process")
def frozen_child(values):
    return [gc.get_freeze_count()] * len(values)

class NoModel(BatchProcessor):
    queue = "model"
    def setup(self):
        raise LookupError("no \\x1bmodel")
    def process(self, batch):
        return []

class Leaves(NoModel):
    def setup(self):
        sys.exit("no licence")
"""


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """The worker's current directory, with its module."""
    (tmp_path / "tasks.py").write_text(TASKS)
    return tmp_path


@pytest.fixture
def client(redis_url: str) -> Iterator[Client]:
    with Client(redis_url) as client:
        yield client


def begin(here: Path, redis_url: str, *words: object) -> Command:
    command = Command("worker", *words, redis_url=redis_url, here=here)
    try:
        command.wait_for("is ready: ")
    except BaseException:
        command.__exit__()
        raise
    return command


def served_in_turn(worker: Command) -> None:
    """Return when the signal before this one has had its effect: its log line comes a moment earlier."""
    worker.tell(signal.SIGUSR1)
    worker.wait_for("SIGUSR1")


# --- work -----------------------------------------------------------------------------------


def test_burst_empties_the_queues_and_leaves_with_0(here: Path, redis_url: str, client: Client) -> None:
    jobs = client.submit_many("echo", range(300))
    done = ran("worker", "tasks:echo", "tasks:sizes", "--burst", redis_url=redis_url, here=here)
    assert (done.end(), done.out) == (0, [])
    assert [job.result(timeout_s=30) for job in jobs] == list(range(300))
    (ready,) = done.err
    assert json.loads(ready)["message"].endswith("is ready: echo, sizes")


def test_the_command_line_wins_over_the_processor_s_declaration(
    here: Path, redis_url: str, client: Client
) -> None:
    jobs = client.submit_many("sizes", range(10))
    options = ("--max-batch-size", 4, "--max-wait-ms", 10, "--concurrency", 2)
    assert ran_here("worker", "tasks:sizes", *options, "--burst", redis_url=redis_url, here=here).code == 0
    assert sorted(job.result(timeout_s=30) for job in jobs) == [2, 2, *[4] * 8]


def test_full_collections_need_not_visit_what_a_worker_or_its_child_imported(
    here: Path, redis_url: str, client: Client
) -> None:
    jobs = [client.submit(queue, None) for queue in ("frozen", "frozen-child")]
    processors = ("tasks:frozen", "tasks:frozen_child")
    assert ran("worker", *processors, "--burst", redis_url=redis_url, here=here).end() == 0
    assert all(job.result(timeout_s=30) > 10_000 for job in jobs)


def test_a_job_that_is_submitted_while_the_worker_runs_is_answered(
    here: Path, redis_url: str, client: Client
) -> None:
    with begin(here, redis_url, "tasks:echo") as worker:
        assert client.call("echo", "hello", timeout_s=LIMIT_S) == "hello"
        worker.tell(signal.SIGTERM)
        assert worker.end() == 0
        assert worker.out == []


def test_the_log_as_json_is_one_object_a_line(here: Path, redis_url: str) -> None:
    done = ran("worker", "tasks:echo", "--burst", "--json", redis_url=redis_url, here=here)
    assert done.end() == 0
    (record,) = [json.loads(line) for line in done.err]
    assert record.keys() == {"time", "level", "logger", "event", "message", "worker", "queues"}
    assert (record["event"], record["queues"]) == ("worker_ready", "echo")
    assert (record["level"], record["logger"]) == ("info", "microbatch.worker")
    assert record["message"].endswith("is ready: echo")


def test_the_log_level_decides_what_is_logged(here: Path, redis_url: str) -> None:
    quiet = ran_here(
        "worker", "tasks:echo", "--burst", "--log-level", "error", redis_url=redis_url, here=here
    )
    assert quiet == (0, [], [])


# --- what keeps it from starting ------------------------------------------------------------


def test_a_module_that_raises_shows_the_user_s_traceback_and_one_line(here: Path, redis_url: str) -> None:
    (here / "broken.py").write_text("def load():\n    raise ValueError('no such model')\n\nload()\n")
    done = ran_here("worker", "broken:embed", redis_url=redis_url, here=here)
    assert done.code == 2
    place = here / "broken.py"
    assert [line for line in done.err if "File " in line] == [
        f'  File "{place}", line 4, in <module>',
        f'  File "{place}", line 2, in load',
    ]
    assert done.err[0] == "Traceback (most recent call last):"
    assert done.err[-2:] == [
        "ValueError: no such model",
        "microbatch worker: broken does not import: ValueError: no such model",
    ]


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ("tasks:ehco", "did you mean tasks:echo?"),
        ("nowhere:echo", "no module 'nowhere' here"),
        ("tasks", "write MODULE:ATTR"),
        ("tasks:hold", "is no processor"),
    ],
)
def test_what_names_no_processor_is_one_line_and_exit_2(
    spec: str, complaint: str, here: Path, redis_url: str
) -> None:
    done = ran_here("worker", spec, redis_url=redis_url, here=here)
    assert done.code == 2
    (line,) = done.err
    assert complaint in line


def test_two_processors_for_one_queue_are_one_line_and_exit_2(here: Path, redis_url: str) -> None:
    done = ran_here("worker", "tasks:echo", "tasks:echo_too", redis_url=redis_url, here=here)
    assert done.code == 2
    (line,) = done.err
    assert "two processors for queue 'echo'" in line


def test_a_setup_that_raises_shows_the_user_s_traceback_and_is_exit_1(here: Path, redis_url: str) -> None:
    """Not 2: a model or a database that is not there yet is worth another start."""
    done = ran_here("worker", "tasks:NoModel", redis_url=redis_url, here=here)
    assert done.code == 1
    (frame,) = [line for line in done.err if "File " in line]
    assert frame.startswith(f'  File "{here / "tasks.py"}"')
    assert frame.endswith("in setup")
    assert done.err[-1] == "microbatch worker: setup of NoModel failed: LookupError: no \\x1bmodel"


def test_a_setup_that_exits_is_exit_1(here: Path, redis_url: str) -> None:
    done = ran_here("worker", "tasks:Leaves", redis_url=redis_url, here=here)
    assert done.code == 1
    assert "no licence" in done.err[-1]


# --- signals --------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_finishes_what_was_begun_and_claims_nothing_new(
    number: signal.Signals, here: Path, redis_url: str, client: Client
) -> None:
    first, second = client.submit("held", 1), client.submit("held", 2)
    with begin(here, redis_url, "tasks:held") as worker:
        until((here / "begun").exists, "the batch")
        worker.tell(number)
        worker.wait_for("draining")
        served_in_turn(worker)
        (here / "go").touch()
        assert worker.end() == 0
    assert first.result(timeout_s=30) == 1
    assert client.queue_status("held").waiting == 1
    assert second.status().attempt == 0


@pytest.mark.parametrize("queue", ["held", "stuck"])
def test_the_second_signal_hands_back_and_leaves_at_once_with_75(
    queue: str, here: Path, redis_url: str, client: Client
) -> None:
    job = client.submit(queue, "again")
    with begin(here, redis_url, f"tasks:{queue}") as worker:
        until((here / "begun").exists, "the batch")
        worker.tell(signal.SIGTERM)
        worker.wait_for("draining")
        worker.tell(signal.SIGTERM)
        assert worker.end() == 75
        assert worker.err[-1] == (
            "microbatch worker: a second signal came: left before its batches were done and handed 1 job "
            "back: other workers go on with it"
        )
    assert client.queue_status(queue).waiting == 1
    (here / "go").touch()
    assert ran("worker", f"tasks:{queue}", "--burst", redis_url=redis_url, here=here).end() == 0
    assert job.result(timeout_s=30) == "again"
    assert job.status().attempt == 2


@pytest.mark.parametrize("queue", ["held", "stuck"])
def test_past_the_drain_deadline_it_hands_back_and_leaves_with_75(
    queue: str, here: Path, redis_url: str, client: Client
) -> None:
    client.submit(queue, 1)
    with begin(here, redis_url, f"tasks:{queue}", "--drain-timeout-s", 0.2) as worker:
        until((here / "begun").exists, "the batch")
        worker.tell(signal.SIGTERM)
        assert worker.end() == 75
        assert "handed 1 job back" in worker.err[-1]
    assert client.queue_status(queue).waiting == 1


def test_tstp_stops_claiming_and_cont_goes_on(here: Path, redis_url: str, client: Client) -> None:
    with begin(here, redis_url, "tasks:echo") as worker:
        assert client.call("echo", 1, timeout_s=LIMIT_S) == 1
        worker.tell(signal.SIGTSTP)
        worker.wait_for("SIGTSTP: quiet")
        served_in_turn(worker)
        with redis.Redis.from_url(redis_url) as server:
            until(lambda: not server.exists("mb:{echo}:idle"), "standing aside")
        job = client.submit("echo", 2)
        with pytest.raises(TimeoutError):
            job.result(timeout_s=0.5)
        worker.tell(signal.SIGCONT)
        assert job.result(timeout_s=LIMIT_S) == 2
        worker.tell(signal.SIGTERM)
        assert worker.end() == 0


def test_usr1_tells_stacks_and_open_batches_and_changes_nothing(
    here: Path, redis_url: str, client: Client
) -> None:
    job = client.submit("held", 1)
    with begin(here, redis_url, "tasks:held") as worker:
        until((here / "begun").exists, "the batch")
        worker.tell(signal.SIGUSR1)
        assert "held=1/1" in worker.wait_for("SIGUSR1")
        worker.wait_for("in hold")
        (here / "go").touch()
        assert job.result(timeout_s=LIMIT_S) == 1
        worker.tell(signal.SIGTERM)
        assert worker.end() == 0


def test_a_signal_while_it_waits_for_redis_ends_it_with_0(here: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        deaf.settimeout(LIMIT_S)
        url = f"redis://127.0.0.1:{deaf.getsockname()[1]}/0"
        words = ("worker", "tasks:echo", "--connect-timeout-s", LIMIT_S)
        with Command(*words, redis_url=url, here=here) as worker:
            connection, _ = deaf.accept()  # it has asked, and gets no answer
            with connection:
                worker.tell(signal.SIGTERM)
                assert worker.end() == 0


# --- leaving by itself ----------------------------------------------------------------------


def test_after_max_batches_a_worker_drains_and_leaves_with_0(
    here: Path, redis_url: str, client: Client
) -> None:
    (here / ".env").write_text("MICROBATCH_MAX_BATCHES=3")
    with begin(here, redis_url, "tasks:echo", "--max-batch-size", 1) as worker:
        jobs = client.submit_many("echo", range(5))
        assert worker.end() == 0
        done = [job for job in jobs if job.status().state == "succeeded"]
        assert len(done) >= 3
        worker.wait_for("leaving to be restarted, max_batches: it has run 3")


def test_a_worker_that_grew_above_its_memory_drains_and_leaves_with_0(
    here: Path, redis_url: str, client: Client
) -> None:
    (here / ".env").write_text("MICROBATCH_MAX_RSS_BYTES=1048576")
    with begin(here, redis_url, "tasks:echo") as worker:
        assert client.call("echo", 1, timeout_s=LIMIT_S) == 1
        assert worker.end() == 0
        worker.wait_for("max_rss_bytes: it uses ")


def test_a_thread_that_hangs_past_its_time_out_ends_the_worker_with_75(
    here: Path, redis_url: str, client: Client
) -> None:
    with begin(here, redis_url, "tasks:hung") as worker:
        jobs = client.submit_many("hung", ["hangs", "fine"])
        assert worker.end() == 75
        worker.wait_for("and cannot be stopped")
    assert {job.status().state for job in jobs} <= {"queued", "failed", "succeeded"}
    outcomes = []
    for _ in range(3):  # as a supervisor would restart it
        with begin(here, redis_url, "tasks:hung", "--burst") as worker:
            worker.end()
        outcomes = [job.status().state for job in jobs]
        if outcomes == ["failed", "succeeded"]:
            break
    assert outcomes == ["failed", "succeeded"]


def test_a_batch_that_blocks_the_loop_past_its_time_out_ends_the_worker_with_75(
    here: Path, redis_url: str, client: Client
) -> None:
    with begin(here, redis_url, "tasks:blocked") as worker:
        client.submit("blocked", 1)
        assert worker.end() == 75
        worker.wait_for("a batch blocks the event loop past its time-out")
