"""`microbatch top`: what it says about a real worker, and its live view on a terminal of its own."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from tests.integration.test_cli_basics import LIMIT_S, MICROBATCH, Command, ran, until

from microbatch.common.errors import JobFailed
from microbatch.producer import Client

if TYPE_CHECKING:
    from pathlib import Path

TASKS = """
import os, time
from microbatch.worker import batch_processor

@batch_processor(queue="work", max_wait_ms=0, max_batch_size=4)
def work(values):
    while "hold" in values and not os.path.exists("go"):
        time.sleep(0.01)
    return [ValueError("no \\x1b[2J good") if value == "bad" else value for value in values]
"""


def top(here: Path, redis_url: str, *words: object) -> dict[str, Any]:
    done = ran("top", "--json", *words, redis_url=redis_url, here=here)
    assert (done.end(), done.err) == (0, [])
    seen: dict[str, Any] = json.loads(done.out[0])
    return seen


def test_it_says_what_queues_workers_and_errors_there_are(tmp_path: Path, redis_url: str) -> None:
    (tmp_path / "tasks.py").write_text(TASKS)
    with (
        Client(redis_url) as client,
        Command("worker", "tasks:work", redis_url=redis_url, here=tmp_path) as worker,
    ):
        worker.wait_for("is ready: ")
        assert client.map("work", range(8), timeout_s=LIMIT_S) == list(range(8))
        with pytest.raises(JobFailed):
            client.call("work", "bad", timeout_s=LIMIT_S)
        held = client.submit("work", "hold")
        until(lambda: client.queue_status("work").running == 1, "a job that runs")
        client.submit("other", 1)
        seen = top(tmp_path, redis_url)

        other, work = seen["queues"]
        assert (work["queue"], work["running"], work["workers"], work["dead"]) == ("work", 1, 1, 1)
        assert work["jobs_per_s"] == pytest.approx(0.9)
        assert 0.25 <= work["fill"] <= 0.75
        assert work["p95_ms"] >= 0
        assert (other["waiting"], other["jobs_per_s"], other["fill"], other["p95_ms"]) == (1, 0, None, None)
        (at_work,) = seen["workers"]
        assert (at_work["state"], at_work["batches"], at_work["jobs"]) == ("working", 1, 1)
        assert at_work["queues"] == ["work"]
        (error,) = seen["errors"]
        assert (error["type"], error["message"]) == ("ValueError", "no \x1b[2J good")

        (tmp_path / "go").touch()
        held.result(timeout_s=LIMIT_S)
        until(lambda: top(tmp_path, redis_url)["workers"][0]["state"] == "idle", "an idle worker")
        assert [row["queue"] for row in top(tmp_path, redis_url, "other")["queues"]] == ["other"]
        plain = ran("top", "--once", redis_url=redis_url, here=tmp_path)
        assert plain.end() == 0
        assert plain.out[0].split() == [
            *[
                "QUEUE",
                "WAITING",
                "RUNNING",
                "SCHEDULED",
                "WORKERS",
                "JOBS/S",
                "FILL",
                "P95",
                "OLDEST",
                "DEAD",
            ]
        ]
        assert any("no \\x1b[2J good" in line for line in plain.out)


def test_a_queue_that_nobody_ever_used_is_3(tmp_path: Path, redis_url: str) -> None:
    assert ran("top", "nowhere", redis_url=redis_url, here=tmp_path).end() == 3


def test_on_a_terminal_it_shows_itself_anew_until_it_is_interrupted(tmp_path: Path, redis_url: str) -> None:
    with Client(redis_url) as client:
        client.submit("first", 1)
        ours, theirs = pty.openpty()
        clean = {name: value for name, value in os.environ.items() if not name.startswith("MICROBATCH_")}
        process = subprocess.Popen(
            [MICROBATCH, "top", "--interval-s", "0.1"],
            cwd=tmp_path,
            env=clean | {"MICROBATCH_REDIS_URL": redis_url, "TERM": "xterm", "COLUMNS": "120", "LINES": "30"},
            stdin=theirs,
            stdout=theirs,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        os.close(theirs)
        try:
            shown = b""
            while b"first" not in shown:
                shown += os.read(ours, 65_536)
            client.submit("second", 1)
            while b"second" not in shown:
                shown += os.read(ours, 65_536)
            process.send_signal(signal.SIGINT)
            while process.poll() is None:
                try:
                    os.read(ours, 65_536)
                except OSError:  # it has closed its side
                    break
            assert process.wait(LIMIT_S) == 0
            assert process.stderr is not None
            assert process.stderr.read() == b""
        finally:
            process.kill()
            process.wait(LIMIT_S)
            if process.stderr is not None:
                process.stderr.close()
            os.close(ours)
