"""`microbatch top`: what it says about a real worker, and its live view on a terminal of its own."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import signal
import subprocess
import threading
from typing import TYPE_CHECKING, Any, Self

import pytest
from tests.integration.command import LIMIT_S, MICROBATCH, free_port, ran_here, serving, until

from microbatch.common.embedded import EmbeddedServer
from microbatch.common.errors import JobFailed
from microbatch.producer import Client
from microbatch.worker import batch_processor

if TYPE_CHECKING:
    from pathlib import Path


def top(here: Path, redis_url: str, *words: object) -> dict[str, Any]:
    done = ran_here("top", "--json", *words, redis_url=redis_url, here=here)
    assert (done.code, done.err) == (0, [])
    seen: dict[str, Any] = json.loads(done.out[0])
    return seen


def test_it_says_what_queues_workers_and_errors_there_are(tmp_path: Path, redis_url: str) -> None:
    go = threading.Event()

    @batch_processor(queue="work", max_wait_ms=0, max_batch_size=4)
    def held_up(values: list[Any]) -> list[Any]:
        if "hold" in values:
            go.wait(LIMIT_S)
        return [ValueError("no \x1b[2J good") if value == "bad" else value for value in values]

    with Client(redis_url) as client, serving(redis_url, held_up):
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

        go.set()
        held.result(timeout_s=LIMIT_S)
        until(lambda: top(tmp_path, redis_url)["workers"][0]["state"] == "idle", "an idle worker")
        assert [row["queue"] for row in top(tmp_path, redis_url, "other")["queues"]] == ["other"]
        plain = ran_here("top", "--once", redis_url=redis_url, here=tmp_path)
        assert plain.code == 0
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
    assert ran_here("top", "nowhere", redis_url=redis_url, here=tmp_path).code == 3


class OnTerminal:
    """`microbatch top` on a terminal of its own; it is gone afterwards."""

    def __init__(self, here: Path, redis_url: str, terminal: str = "xterm") -> None:
        self.ours, theirs = pty.openpty()
        clean = {name: value for name, value in os.environ.items() if not name.startswith("MICROBATCH_")}
        own = {"MICROBATCH_REDIS_URL": redis_url, "MICROBATCH_COMMAND_TIMEOUT_S": "1", "TERM": terminal}
        self.process = subprocess.Popen(
            [MICROBATCH, "top", "--interval-s", "0.1"],
            cwd=here,
            env=clean | own | {"COLUMNS": "120", "LINES": "30"},
            stdin=theirs,
            stdout=theirs,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        os.close(theirs)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait(LIMIT_S)
        assert self.process.stderr is not None
        self.process.stderr.close()
        os.close(self.ours)

    def shows(self, words: bytes) -> bytes:
        """Everything that it shows until these words have come."""
        shown = b""
        while words not in shown:
            assert select.select([self.ours], [], [], LIMIT_S)[0], (words, shown[-2_000:])
            shown += os.read(self.ours, 65_536)
        return shown

    def end(self) -> int:
        while self.process.poll() is None:
            with contextlib.suppress(OSError):  # it has closed its side
                os.read(self.ours, 65_536)
        return self.process.wait(LIMIT_S)


def test_on_a_terminal_it_shows_itself_anew_until_it_is_interrupted(tmp_path: Path, redis_url: str) -> None:
    with Client(redis_url) as client:
        client.submit("first", 1)
        with OnTerminal(tmp_path, redis_url) as shown:
            shown.shows(b"first")
            client.submit("second", 1)
            shown.shows(b"second")
            shown.process.send_signal(signal.SIGINT)
            assert shown.end() == 0
            assert shown.process.stderr is not None
            assert shown.process.stderr.read() == b""


def test_it_stays_while_redis_is_away(tmp_path: Path) -> None:
    port = free_port()
    url = f"redis://127.0.0.1:{port}/0"
    with EmbeddedServer(port=port), Client(url) as client:
        client.submit("before", 1)
        terminal = OnTerminal(tmp_path, url)
        terminal.shows(b"before")
    with terminal:
        terminal.shows(b"as of ")
        with EmbeddedServer(port=port), Client(url) as client:
            client.submit("afterwards", 1)
            terminal.shows(b"afterwards")


def test_a_terminal_that_cannot_move_its_cursor_gets_one_look(tmp_path: Path, redis_url: str) -> None:
    with Client(redis_url) as client:
        client.submit("first", 1)
    with OnTerminal(tmp_path, redis_url, terminal="dumb") as shown:
        assert b"\x1b" not in shown.shows(b"first")
        assert shown.end() == 0
