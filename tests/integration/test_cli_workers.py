"""`microbatch workers` with real worker processes: busy ones, frozen ones, those that are not there."""

from __future__ import annotations

import json
import signal
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import redis
from tests.integration.command import LIMIT_S, Command, free_port, serving, until
from tests.integration.monitoring import asked

from microbatch.common.keys import QueueKeys
from microbatch.producer import Client
from microbatch.worker import batch_processor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Run = Callable[..., tuple[int, str, str]]

# Each is in its batch until the file `go` is there. The last one blocks the event loop itself.
TASKS = """
import os, time
from microbatch.worker import batch_processor

def hold(values):
    open(f"begun-{values[0]}", "w").close()
    while not os.path.exists("go"):
        time.sleep(0.01)
    return values

@batch_processor(queue="held", max_wait_ms=0, max_batch_size=1)
def held(values):
    return hold(values)

@batch_processor(queue="child", max_wait_ms=0, max_batch_size=1, executor="process")
def child(values):
    return hold(values)

@batch_processor(queue="hogs", max_wait_ms=0, max_batch_size=1)
async def hogs(values):
    return hold(values)
"""
KINDS = ("held", "child", "hogs")


@batch_processor(queue="held", max_wait_ms=0, max_batch_size=1)
def held(values: list[Any]) -> list[Any]:
    """Does not hold anything up, in a worker of this process."""
    return values


@pytest.fixture
def run(redis_url: str, run_main: Callable[..., Run]) -> Run:
    """Runs `microbatch workers` in this process: its code, stdout and stderr."""
    return run_main(redis_url, "workers")


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "tasks.py").write_text(TASKS)
    return tmp_path


@pytest.fixture
def client(redis_url: str) -> Iterator[Client]:
    with Client(redis_url) as client:
        yield client


@contextmanager
def working(
    redis_url: str, here: Path, kind: str = "held", *options: str, **variables: str
) -> Iterator[Command]:
    """A worker process that is ready; afterwards nothing holds it up any more."""
    words = ("worker", f"tasks:{kind}", "--log-format", "console", *options)
    with Command(*words, redis_url=redis_url, here=here, **variables) as process:
        process.wait_for("is ready: ")
        yield process
        (here / "go").touch()


def id_of(process: Command) -> str:
    return process.wait_for("is ready: ").partition(" is ready")[0].rpartition(" ")[2]


def replies(run: Run, *words: str, code: int = 0) -> list[dict[str, Any]]:
    done, out, err = run("send", *words, "--json")
    assert (done, err) == (code, ""), (out, err)
    found: list[dict[str, Any]] = json.loads(out)
    return found


def rows(run: Run, *words: str) -> dict[str, dict[str, Any]]:
    code, out, _ = run("--json", *words)
    assert code == 0
    return {row["id"]: row for row in json.loads(out)}


def begin(client: Client, here: Path, queue: str) -> Any:
    """A job that is being processed."""
    job = client.submit(queue, "x")
    until((here / "begun-x").exists, "the batch")
    return job


def test_workers_are_listed_with_what_they_are_and_do(
    run: Run, redis_url: str, here: Path, client: Client
) -> None:
    assert run()[:2] == (0, "no workers\n")
    with (
        working(redis_url, here, "held", "--label", "gpu", "--label", "eu", "--concurrency", "2") as one,
        working(redis_url, here, "hogs", MICROBATCH_LABELS="cpu,eu") as other,
    ):
        job = begin(client, here, "held")
        until(lambda: rows(run)[id_of(one)]["in_flight"] == 1, "the batch in the list")
        row = rows(run)[id_of(one)]
        assert row["pid"] == one.process.pid
        assert f"{row['host']}:{row['pid']}:" in row["id"]
        assert (row["labels"], row["queues"], row["concurrency"]) == (["gpu", "eu"], ["held"], 2)
        assert (row["state"], row["batches_in_flight"]) == ("working", 1)
        assert 0 <= row["heartbeat_age_s"] < 10
        assert row["version"]
        assert set(rows(run, "--label", "eu")) == {id_of(one), id_of(other)}
        assert set(rows(run, "--label", "eu", "--label", "cpu")) == {id_of(other)}
        assert set(rows(run, "--queue", "held")) == {id_of(one)}
        table = run("list")[1].splitlines()
        assert table[0].split()[:3] == ["WORKER", "STATE", "SLOTS"]
        assert "gpu, eu" in table[1] + table[2]
        (here / "go").touch()
        job.result(timeout_s=LIMIT_S)


@pytest.mark.parametrize("kind", KINDS)
def test_a_worker_answers_while_its_processor_is_busy(
    run: Run, redis_url: str, here: Path, client: Client, kind: str
) -> None:
    with working(redis_url, here, kind) as process:
        job = begin(client, here, kind)
        for words in (
            ("ping",),
            ("stats",),
            ("log-level", "debug"),
            ("quiet",),
            ("resume",),
            ("resize", "3"),
        ):
            (reply,) = replies(run, *words, "--all")
            assert (reply["worker"], reply["status"]) == (id_of(process), "done"), words
        (reply,) = replies(run, "dump", "--all")
        (batch,) = reply["value"]["open_batches"][kind]
        assert batch
        assert kind == "child" or "in hold" in reply["value"]["stacks"]
        assert rows(run)[id_of(process)]["in_flight"] == 1
        (here / "go").touch()
        assert job.result(timeout_s=LIMIT_S) == "x"


@pytest.mark.parametrize("kind", KINDS)
def test_a_busy_worker_that_is_told_to_stop_finishes_its_batch_and_leaves(
    run: Run, redis_url: str, here: Path, client: Client, kind: str
) -> None:
    with working(redis_url, here, kind) as process:
        job = begin(client, here, kind)
        (reply,) = replies(run, "stop", "--worker", id_of(process))
        assert reply["status"] == "done"
        assert process.process.poll() is None
        (here / "go").touch()
        assert process.end() == 0
        assert job.result(timeout_s=LIMIT_S) == "x"
    assert rows(run) == {}


def test_a_worker_whose_loop_is_blocked_for_good_leaves_at_its_deadline(
    run: Run, redis_url: str, here: Path, client: Client
) -> None:
    with working(redis_url, here, "hogs", "--drain-timeout-s", "0.1") as process:
        begin(client, here, "hogs")
        assert replies(run, "stop", "--all")[0]["status"] == "done"
        assert process.end() == 75


def test_a_quiet_worker_claims_nothing_says_so_and_resumes(
    run: Run, redis_url: str, here: Path, client: Client
) -> None:
    (here / "go").touch()
    address = f"127.0.0.1:{free_port()}"
    with working(redis_url, here, "held", "--monitoring-address", address) as process:
        assert run("send", "quiet", "--all")[:2] == (0, f"{id_of(process)} done running=0\n")
        until(lambda: asked(address, "/readyz").status == 503, "not ready")
        until(lambda: rows(run)[id_of(process)]["state"] == "quiet", "quiet in the list")
        job = client.submit("held", "x")
        with working(redis_url, here, "held") as other:
            assert job.result(timeout_s=LIMIT_S) == "x"
            assert job.status().worker == id_of(other)
            other.tell(signal.SIGTERM)
            assert other.end() == 0
        job = client.submit("held", "y")
        assert run("send", "resume", "--all")[0] == 0
        assert job.result(timeout_s=LIMIT_S) == "y"
        assert asked(address, "/readyz").status == 200


@pytest.mark.parametrize("kind", ["held", "child"])
def test_a_worker_that_was_resized_runs_so_many_batches_at_a_time(
    run: Run, redis_url: str, here: Path, client: Client, kind: str
) -> None:
    with working(redis_url, here, kind) as process:
        jobs = client.submit_many(kind, ["a", "b", "c"])
        until((here / "begun-a").exists, "the first batch")
        assert replies(run, "resize", "concurrency", "3", "--all")[0]["value"] == {
            "queue": kind,
            "concurrency": 3,
            "before": 1,
        }
        until(lambda: all((here / f"begun-{each}").exists() for each in "abc"), "three batches")
        until(lambda: rows(run)[id_of(process)]["concurrency"] == 3, "the new size in the list")
        assert rows(run)[id_of(process)]["batches_in_flight"] == 3
        assert replies(run, "resize", "1", "--all")[0]["status"] == "done"
        (here / "go").touch()
        assert [job.result(timeout_s=LIMIT_S) for job in jobs] == ["a", "b", "c"]
        (here / "go").unlink()
        jobs = client.submit_many(kind, ["d", "e"])
        until(lambda: (here / "begun-d").exists() or (here / "begun-e").exists(), "one batch")
        assert replies(run, "ping", "--all")[0]["status"] == "done"
        assert client.queue_status(kind).running == 1


def test_limits_that_are_set_by_order_hold_for_the_queue(
    run: Run, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "microbatch.worker")
    with serving(redis_url, held):
        (reply,) = replies(run, "set", "max_batch_size=7", "max_wait_ms", "50", "--all")
        assert reply["value"] == {"queue": "held", "max_batch_size": 7, "max_wait_ms": 50.0}
        until(lambda: "an operator says max_batch_size=7 max_wait_ms=50" in caplog.text, "its limits")
        with redis.Redis.from_url(redis_url, decode_responses=True) as raw:
            assert raw.hgetall(QueueKeys("held").limits) == {"max_batch_size": "7", "max_wait_ms": "50"}
        assert replies(run, "set", "max_batch_size=", "--all")[0]["value"]["max_batch_size"] == 1


def test_a_frozen_worker_is_said_not_to_answer_and_does_not_do_it_later(
    run: Run, redis_url: str, here: Path
) -> None:
    with working(redis_url, here) as frozen, working(redis_url, here) as lively:
        frozen.tell(signal.SIGSTOP)
        began_s = time.monotonic()
        code, out, err = run("send", "quiet", "--all", "--timeout-s", "1.5")
        assert 1.5 <= time.monotonic() - began_s < LIMIT_S
        assert (code, err) == (4, "")
        assert sorted(out.splitlines()) == sorted(
            [f"{id_of(frozen)} unanswered no answer within 1.5 s", f"{id_of(lively)} done running=0"]
        )
        frozen.tell(signal.SIGCONT)
        until(lambda: replies(run, "ping", "--worker", id_of(frozen))[0]["status"] == "done", "an answer")
        assert rows(run)[id_of(frozen)]["state"] != "quiet"


def test_a_worker_whose_loop_hangs_is_listed_and_answers_after_others_have_its_jobs(
    run: Run, redis_url: str, here: Path, client: Client
) -> None:
    soon = {"MICROBATCH_LOOP_STALL_LIMIT_S": "0.5", "MICROBATCH_HEARTBEAT_LIMIT_S": "1"}
    with working(redis_url, here, "hogs", **soon) as hung, working(redis_url, here, "hogs", **soon) as other:
        job = begin(client, here, "hogs")
        culprit = job.status().worker
        # The job hangs whoever runs it, so both get stuck, one after the other; one of them is taken over.
        until(lambda: rows(run).get(culprit, {}).get("state") == "stuck", "the state of who was taken over")
        (reply,) = replies(run, "dump", "--worker", culprit)
        assert "in hold" in reply["value"]["stacks"]
        assert culprit in {id_of(hung), id_of(other)}
        (here / "go").touch()
        until(lambda: rows(run).get(culprit, {}).get("state") in {"idle", "watching"}, "its return")
        assert job.result(timeout_s=LIMIT_S) == "x"


def test_a_worker_that_died_is_listed_as_lost_and_told_only_by_name(
    run: Run, redis_url: str, here: Path
) -> None:
    soon = {"MICROBATCH_HEARTBEAT_LIMIT_S": "1"}
    with working(redis_url, here, **soon) as dead, working(redis_url, here, **soon) as lively:
        dead.tell(signal.SIGKILL)
        until(lambda: rows(run).get(id_of(dead), {}).get("state") == "lost", "the dead one in the list")
        (reply,) = replies(run, "ping", "--all")
        assert reply["worker"] == id_of(lively)
        late = replies(run, "ping", "--worker", id_of(dead), "--timeout-s", "0.1", code=4)
        assert late[0]["status"] == "unanswered"
        assert run("list")[1].count("lost") == 1


def test_some_are_addressed_by_label_and_others_hear_nothing(run: Run, redis_url: str) -> None:
    with serving(redis_url, held, labels="gpu") as one, serving(redis_url, held, labels="cpu") as other:
        (reply,) = replies(run, "resize", "3", "--label", "gpu")
        assert reply["worker"] == one.id
        (reply,) = replies(run, "resize", "4", "--worker", other.id)
        assert reply["value"]["before"] == 1


def test_who_is_not_there_is_named_with_a_near_one(run: Run, redis_url: str) -> None:
    with serving(redis_url, held) as worker:
        wrong = worker.id[:-1] + "?"
        code, out, err = run("send", "ping", "--worker", wrong)
        assert (code, out) == (3, "")
        assert err == f"microbatch workers: no worker '{wrong}'; did you mean {worker.id}?\n"
        assert run("send", "ping", "--label", "nobody")[0] == 3
        assert run("--queue", "nobody")[0] == 3


@pytest.mark.parametrize(
    "words",
    [
        ("send", "ping"),
        ("send", "--all"),
        ("send", "ping", "--all", "--label", "x"),
        ("send", "explode", "--all"),
        ("send", "resize", "--all"),
        ("send", "resize", "0", "--all"),
        ("send", "resize", "concurrency", "--all"),
        ("send", "set", "max_queue_length=1", "--all"),
        ("send", "log-level", "loud", "--all"),
        ("send", "quiet", "now", "please", "--all"),
        ("list", "ping"),
        ("--all",),
        ("command",),
    ],
)
def test_wrong_usage_is_told_in_one_line(run: Run, words: tuple[str, ...]) -> None:
    code, out, err = run(*words)
    assert (code, out, err.count("\n")) == (2, "", 1)


def test_with_nobody_there_an_order_fails(run: Run) -> None:
    assert run("send", "ping", "--all")[0] == 3
