"""The demo with real processes: what it proves, and that it leaves nothing behind however it ends."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")

WAIT_S = 60.0
SOME = ("--jobs", "500")  # its processes take long enough to start, so that a test is there in the middle
MARKER = "DEMO_TEST_MARKER"
MAIN = "import sys; from microbatch.console.main import main; sys.exit(main())"  # what the script does


class Demo:
    """A `microbatch demo` whose processes and files can be told from all others."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._marker = f"{MARKER}={uuid.uuid4()}"
        self._process: subprocess.Popen[str] | None = None

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        name, _, value = self._marker.partition("=")
        self._process = subprocess.Popen(
            [sys.executable, "-c", MAIN, "demo", *arguments],
            # A wrong server and wrong settings: the demo has to bring its own.
            env=os.environ
            | {name: value, "TMPDIR": str(self.directory)}
            | {"MICROBATCH_REDIS_URL": "redis://127.0.0.1:1/0", "MICROBATCH_MAX_PAYLOAD_BYTES": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        return self._process

    def run(self, *arguments: str) -> tuple[int, str, str]:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=WAIT_S)
        return process.returncode, out, err

    def processes(self, part: str = "") -> list[int]:
        """The ids of its processes whose command line has `part` in it."""
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            with contextlib.suppress(OSError):  # it has just ended
                if (
                    self._marker.encode() in (entry / "environ").read_bytes()
                    and part.encode() in (entry / "cmdline").read_bytes()
                ):
                    found.append(int(entry.name))
        return found

    def first(self, part: str) -> int:
        """Wait for its first process whose command line has `part` in it."""
        _eventually(lambda: bool(self.processes(part)), f"a process {part}")
        return self.processes(part)[0]

    def end(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            self._process.communicate()


def _eventually(condition: Callable[[], bool], what: str) -> None:
    deadline_s = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline_s, f"not within {WAIT_S:g} s: {what}"
        time.sleep(0.01)  # other processes' ends are nobody's event


@pytest.fixture
def demo() -> Iterator[Demo]:
    # Short, so that the embedded server's socket has room below it.
    directory = Path(tempfile.mkdtemp(prefix="mb-test-"))
    demo = Demo(directory)
    try:
        yield demo
    finally:
        demo.end()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.mark.long
def test_every_job_gets_its_own_result_once_and_nothing_is_left_behind(demo: Demo, tmp_path: Path) -> None:
    kept, nowhere = tmp_path / "kept", "redis://127.0.0.1:1/0"
    code, out, err = demo.run(
        *("--jobs", "600", "--search", "return"), *("--keep", str(kept), "--redis-url", nowhere)
    )

    assert code == 0, err
    assert "closed by" in out
    assert "times as fast." in out
    assert "--redis-url is not used" in err
    summary = json.loads((kept / "summary.json").read_text())
    assert summary["ok"] is True
    for one in (summary["batched"], summary["single"]):
        assert one["jobs"] == 600
        assert [one[name] for name in ("lost", "duplicates", "crossed", "failed")] == [0, 0, 0, 0]
        assert 0 < one["latency_p50_ms"] <= one["latency_p99_ms"]
        assert sum(one["closed_by"].values()) == pytest.approx(1, abs=0.001)
    batched, single = summary["batched"], summary["single"]
    assert (batched["max_batch_size"], single["max_batch_size"]) == (64, 1)
    assert batched["batches"] * batched["mean_batch_size"] == pytest.approx(600, rel=0.05)
    assert 1 < batched["mean_batch_size"] <= 64
    assert (single["batches"], single["mean_batch_size"]) == (600, 1)
    assert summary["ratio"] == pytest.approx(batched["jobs_per_s"] / single["jobs_per_s"], abs=0.01)
    assert summary["ratio"] > 1
    assert len(summary["found"]["hits"]) == 5
    assert "one at a time: 600 of 600" in err

    assert demo.processes() == []
    assert list(demo.directory.iterdir()) == []
    assert sorted(path.name for path in kept.iterdir()) == ["index.sqlite", "summary.json"]
    with contextlib.closing(sqlite3.connect(kept / "index.sqlite")) as database:
        assert database.execute("SELECT count(*) FROM jobs").fetchone() == (600,)


def test_ctrl_c_ends_it_in_order(demo: Demo) -> None:
    process = demo.start(*SOME)
    demo.first("demo.tether")

    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=WAIT_S)

    assert (process.returncode, out) == (130, "")
    assert "ended by SIGINT" in err
    assert demo.processes() == []
    assert list(demo.directory.iterdir()) == []


def test_a_worker_that_dies_ends_it_and_is_named(demo: Demo) -> None:
    process = demo.start(*SOME)
    os.kill(demo.first("demo.tether"), signal.SIGKILL)

    out, err = process.communicate(timeout=WAIT_S)

    assert (process.returncode, out) == (70, "")
    assert "ended unexpectedly (killed by signal 9)" in err
    assert demo.processes() == []
    assert list(demo.directory.iterdir()) == []


def test_no_process_outlives_a_demo_that_was_killed(demo: Demo) -> None:
    process = demo.start(*SOME)
    demo.first("demo.producer")

    process.kill()
    process.communicate()

    _eventually(lambda: demo.processes() == [], "every process is gone")


def test_a_folder_that_cannot_be_made_is_named_before_the_work(demo: Demo, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    code, out, err = demo.run("--keep", str(tmp_path / "file"))

    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert "--keep: cannot write" in err
