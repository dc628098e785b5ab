"""The log of a real worker: what a processor logs itself says where; what a job carries is never in it."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any

import pytest
import redis
from tests.integration.command import LIMIT_S, Command, Done, ran_here, until

from microbatch.common.errors import JobError
from microbatch.producer import Client

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "tell-nobody"  # noqa: S105 - one that must not show
TASKS = """
import logging
import os
from microbatch.worker import Batch, Retry, batch_processor

log = logging.getLogger("mine")

@batch_processor(queue="thread", max_wait_ms=0)
def in_a_thread(values):
    log.info("in a thread")
    return values

@batch_processor(queue="loop", max_wait_ms=2000, max_batch_size=2)
async def on_the_loop(batch: Batch):
    log.info("on the loop")
    for job in batch:
        with job.bound():
            log.info("about %s", job.attempt)
    return batch.payloads

@batch_processor(queue="child", max_wait_ms=2000, max_batch_size=2, executor="process")
def in_a_child(batch: Batch):
    log.debug("not asked for")
    for job in batch:
        with job.bound():
            log.warning("about %s", job.attempt, extra={"rows": 3, "of": log})
    if "raise" in batch.payloads:
        raise LookupError("nothing there")
    if "die" in batch.payloads:
        log.error("last words")
        os._exit(3)
    return batch.payloads

@batch_processor(queue="bad", max_wait_ms=0, max_attempts=2, retry_backoff_s=0.01)
def bad(values):
    raise LookupError("nothing there")
"""


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "tasks.py").write_text(TASKS)
    return tmp_path


def records(command: Command | Done) -> list[dict[str, Any]]:
    return [json.loads(line) for line in command.err]


def test_a_processor_s_own_lines_say_for_which_batch_and_job(here: Path, redis_url: str) -> None:
    with Client(redis_url) as client:
        single = client.submit("thread", 1)
        pair = client.submit_many("loop", [1, 2])
        done = ran_here(
            "worker", "tasks:in_a_thread", "tasks:on_the_loop", "--burst", redis_url=redis_url, here=here
        )
        assert done.code == 0
        batch_of = {job.id: job.status().batch_id for job in (single, *pair)}
    lines = records(done)
    (ready,) = [line for line in lines if line.get("event") == "worker_ready"]
    mine = [line for line in lines if line["logger"] == "mine"]
    assert {line["worker"] for line in mine} == {ready["worker"]}
    (thread,) = [line for line in mine if line["message"] == "in a thread"]
    assert (thread["queue"], thread["batch_id"], thread["job_id"]) == (
        "thread",
        batch_of[single.id],
        single.id,
    )
    (loop,) = [line for line in mine if line["message"] == "on the loop"]
    assert (loop["batch_id"], "job_id" in loop) == (batch_of[pair[0].id], False)
    assert [line["job_id"] for line in mine if line["message"] == "about 1"] == [job.id for job in pair]


def test_lines_of_a_child_process_are_lines_of_its_worker(here: Path, redis_url: str) -> None:
    with Client(redis_url) as client:
        pair = client.submit_many("child", [1, 2])
        with Command(
            "worker", "tasks:in_a_child", redis_url=redis_url, here=here, MICROBATCH_MAX_CRASHES="1"
        ) as worker:
            assert [job.result(timeout_s=LIMIT_S) for job in pair] == [1, 2]
            for fate in ("raise", "die"):
                with pytest.raises(JobError):
                    client.call("child", fate, timeout_s=LIMIT_S)
            worker.tell(signal.SIGTERM)
            assert worker.end() == 0
        batch_id = pair[0].status().batch_id
    lines = records(worker)
    (ready,) = [line for line in lines if line.get("event") == "worker_ready"]
    mine = [line for line in lines if line["logger"] == "mine"]
    assert {line["worker"] for line in mine} == {ready["worker"]}
    assert {line["queue"] for line in mine} == {"child"}
    about = [line for line in mine if line["batch_id"] == batch_id]
    assert [(line["level"], line["message"], line["job_id"]) for line in about] == [
        ("warning", "about 1", job.id) for job in pair
    ]
    assert about[0]["rows"] == 3
    assert about[0]["of"] == "<Logger mine (INFO)>"
    (raised,) = [line for line in lines if line.get("event") == "processor_raised"]
    assert (raised["jobs"], raised["queue"], "batch_id" in raised) == (1, "child", True)
    assert [line["level"] for line in mine if line["message"] == "last words"] == ["error"]


def test_what_a_job_carries_is_never_in_the_log(here: Path, redis_url: str) -> None:
    with Client(redis_url) as client, redis.Redis.from_url(redis_url) as raw:
        options = ("--log-level", "debug", "--json")
        with Command(
            "worker", "tasks:in_a_thread", "tasks:bad", *options, redis_url=redis_url, here=here
        ) as worker:
            worker.wait_for("worker_ready")
            assert client.call("thread", SECRET, headers={"token": SECRET}, timeout_s=LIMIT_S) == SECRET
            with pytest.raises(JobError):
                client.call("bad", SECRET, timeout_s=LIMIT_S)
            raw.xadd("mb:{thread}:lane:main", {"id": "foreign", "payload": b"\xc1" + SECRET.encode()})
            worker.wait_for("entry_quarantined")
            until(lambda: client.queue_status("thread").dead == 1, "the dead letter")
        events = {line.get("event") for line in records(worker)}
    assert {"worker_ready", "processor_raised", "entry_quarantined", "batch_settled"} <= events
    assert [line for line in worker.err if SECRET in line] == []


def test_lines_for_people_where_they_are_asked_for(here: Path, redis_url: str) -> None:
    with Client(redis_url) as client:
        job = client.submit("thread", 1)
        done = ran_here(
            *("worker", "tasks:in_a_thread", "--burst", "--log-format", "console"),
            redis_url=redis_url,
            here=here,
        )
        batch_id = job.status().batch_id
    assert done.code == 0
    assert done.err[0].endswith("is ready: thread [microbatch.worker]")
    assert done.err[1].endswith(
        f"[info     ] in a thread [mine] queue=thread batch_id={batch_id} job_id={job.id}"
    )


def test_a_form_that_does_not_exist_is_wrong_usage(here: Path, redis_url: str) -> None:
    done = ran_here("worker", "tasks:bad", "--log-format", "xml", redis_url=redis_url, here=here)
    assert done.code == 2
    assert "--log-format" in done.err[0]
