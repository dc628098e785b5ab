"""Orders and the child processes of a worker: they are looked into, log as told, and go when too many."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from tests.integration.command import LIMIT_S, until
from tests.integration.test_cli_workers import id_of, replies, working

from microbatch.producer import Client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Run = Callable[..., tuple[int, str, str]]

TASKS = """
import asyncio, logging, os, time
from microbatch.worker import BatchProcessor, batch_processor

class Threaded(BatchProcessor):
    queue = "threaded"; max_wait_ms = 0; max_batch_size = 1; executor = "process"; concurrency = 3
    def setup(self):
        open(f"pid-{os.getpid()}", "w").close()
    def process(self, batch):
        logging.getLogger("mine").debug("deep in %s", batch[0].payload)
        self.hold(batch[0].payload)
        return [os.getpid()]
    def hold(self, name):
        open(f"begun-{name}", "w").close()
        while not os.path.exists("go"):
            time.sleep(0.01)

@batch_processor(queue="awaiting", max_wait_ms=0, max_batch_size=1, executor="process")
async def awaiting(values):
    return await deeper(values)

async def deeper(values):
    open(f"begun-{values[0]}", "w").close()
    while not os.path.exists("go"):
        await asyncio.sleep(0.01)
    return values

@batch_processor(queue="here", max_wait_ms=0, max_batch_size=1)
async def here(values):
    return await deeper(values)
"""


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


def pids(here: Path) -> set[int]:
    """The child processes that were set up."""
    return {int(path.name.partition("-")[2]) for path in here.glob("pid-*")}


def alive(here: Path) -> set[int]:
    return {pid for pid in pids(here) if is_alive(pid)}


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_dump_shows_where_a_busy_child_is_in_its_thread(
    run: Run, redis_url: str, here: Path, client: Client
) -> None:
    with working(redis_url, here, "Threaded") as process:
        jobs = [client.submit("threaded", name) for name in "abc"]
        until(lambda: len(list(here.glob("begun-*"))) == 3, "three batches")

        def children() -> dict[str, str]:
            (reply,) = replies(run, "dump", "--worker", id_of(process))
            found: dict[str, str] = reply["value"]["children"]
            return found

        # A machine that is slow may not answer within the moment that a dump waits.
        until(lambda: all("in hold" in text for text in children().values()), "the stacks of all")
        assert set(children()) == {str(pid) for pid in pids(here)}
        code, out, _ = run("send", "dump", "--all")
        assert code == 0
        assert sum(line.startswith("  child process ") for line in out.splitlines()) == 3
        (here / "go").touch()
        assert {job.result(timeout_s=LIMIT_S) for job in jobs} == pids(here)


@pytest.mark.parametrize("queue", ["awaiting", "here"])
def test_a_dump_shows_what_tasks_wait_for_down_to_the_innermost_await(
    run: Run, redis_url: str, here: Path, client: Client, queue: str
) -> None:
    with working(redis_url, here, queue):
        job = client.submit(queue, "x")
        until((here / "begun-x").exists, "the batch")

        def told() -> str:
            (reply,) = replies(run, "dump", "--all")
            value = reply["value"]
            return "\n".join(value["children"].values()) if queue == "awaiting" else value["tasks"]

        until(lambda: "in deeper" in told(), "the innermost function")
        lines = [line.strip() for line in told().splitlines()]
        assert lines.index("await asyncio.sleep(0.01)") > lines.index("return await deeper(values)")
        (here / "go").touch()
        assert job.result(timeout_s=LIMIT_S) == "x"


def test_children_log_at_the_level_that_was_ordered(
    run: Run, redis_url: str, here: Path, client: Client
) -> None:
    (here / "go").touch()
    with working(redis_url, here, "Threaded", "--concurrency", "1") as process:
        client.call("threaded", "silence", timeout_s=LIMIT_S)

        def ordered() -> bool:
            (reply,) = replies(run, "log-level", "debug", "mine", "--all")
            return "silent_children" not in reply["value"]

        until(ordered, "an answer of the child")
        client.call("threaded", "words", timeout_s=LIMIT_S)
        process.wait_for("deep in words")
        assert not [line for line in process.err if "deep in silence" in line]
        (pid,) = pids(here)
        os.kill(pid, 9)  # one that starts later is told, too
        until(lambda: client.call("threaded", "again", timeout_s=LIMIT_S) != pid, "another child")
        process.wait_for("deep in again")


def test_children_that_are_too_many_after_a_resize_end_with_their_batches(
    run: Run, redis_url: str, here: Path, client: Client
) -> None:
    with working(redis_url, here, "Threaded"):
        jobs = [client.submit("threaded", name) for name in "abc"]
        until(lambda: len(list(here.glob("begun-*"))) == 3, "three batches")
        assert replies(run, "resize", "1", "--all")[0]["value"]["before"] == 3
        assert len(alive(here)) == 3
        (here / "go").touch()
        assert {job.result(timeout_s=LIMIT_S) for job in jobs} == pids(here)
        until(lambda: len(alive(here)) == 1, "the end of two children")
        assert client.call("threaded", "d", timeout_s=LIMIT_S) in alive(here)
        assert replies(run, "resize", "2", "--all")[0]["status"] == "done"
        (here / "go").unlink()
        jobs = [client.submit("threaded", name) for name in "ef"]
        until(lambda: (here / "begun-e").exists() and (here / "begun-f").exists(), "two batches at a time")
        assert len(alive(here)) == 2
        (here / "go").touch()
        assert {job.result(timeout_s=LIMIT_S) for job in jobs} == alive(here)


def test_idle_children_that_are_too_many_after_a_resize_end_at_once(
    run: Run, redis_url: str, here: Path
) -> None:
    with working(redis_url, here, "Threaded"):
        assert len(alive(here)) == 3
        assert replies(run, "resize", "1", "--all")[0]["status"] == "done"
        until(lambda: len(alive(here)) == 1, "the end of two children")
