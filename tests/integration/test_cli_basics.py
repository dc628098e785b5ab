"""The `microbatch` command as a process: how tests run it, and what holds for every subcommand."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest

from microbatch.common.embedded import EmbeddedServer

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Iterator

MICROBATCH = Path(sys.executable).with_name("microbatch")
LIMIT_S = 30.0
TASKS = """
from microbatch.worker import batch_processor

@batch_processor(queue="echo")
def echo(values):
    return values
"""
NOWHERE = "unix:///tmp/microbatch-no-such-socket?db=0"


class Command:
    """A running `microbatch`, its output collected as it comes; killed at the end of the block if need be."""

    def __init__(self, *words: object, redis_url: str, here: Path, **variables: str) -> None:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("MICROBATCH_")}
        self.process = subprocess.Popen(
            [MICROBATCH, *map(str, words)],
            cwd=here,
            env=clean | {"MICROBATCH_REDIS_URL": redis_url} | variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._arrived = threading.Condition()
        self._lines: dict[str, list[str]] = {"out": [], "err": []}
        self._ended = 0  # streams
        self._readers = [
            threading.Thread(target=self._collect, args=(name, stream), daemon=True)
            for name, stream in (("out", self.process.stdout), ("err", self.process.stderr))
        ]
        for reader in self._readers:
            reader.start()

    def _collect(self, name: str, stream: Any) -> None:
        for line in stream:
            with self._arrived:
                self._lines[name].append(line.rstrip("\n"))
                self._arrived.notify_all()
        with self._arrived:
            self._ended += 1
            self._arrived.notify_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(LIMIT_S)
        for reader in self._readers:
            reader.join(LIMIT_S)
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()

    @property
    def out(self) -> list[str]:
        return self._lines["out"]

    @property
    def err(self) -> list[str]:
        return self._lines["err"]

    def wait_for(self, words: str, *, stream: str = "err", skip: int = 0) -> str:
        """The first line (after `skip` lines) with `words`."""

        def found() -> str | None:
            return next((line for line in self._lines[stream][skip:] if words in line), None)

        with self._arrived:
            self._arrived.wait_for(lambda: found() is not None or self._ended == len(self._readers), LIMIT_S)
            line = found()
            assert line is not None, f"{words!r} did not come: {self._lines}"
            return line

    def write(self, text: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(text)
        self.process.stdin.flush()

    def close_stdin(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    def tell(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self) -> int:
        """Wait until it has left by itself; its exit code."""
        code = self.process.wait(LIMIT_S)
        for reader in self._readers:
            reader.join(LIMIT_S)
        return code


def free_port() -> int:
    """A TCP port that nobody listens on, most likely for a while."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def until(seen: Callable[[], object], what: str) -> None:
    """Wait until `seen` is true."""
    ends_s = time.monotonic() + LIMIT_S
    while not seen():
        assert time.monotonic() < ends_s, f"{what} did not come to pass"
        time.sleep(0.01)


def ran(*words: object, redis_url: str, here: Path, text: str = "", **variables: str) -> Command:
    """A command that has left by itself; `end()` gives its code."""
    with Command(*words, redis_url=redis_url, here=here, **variables) as command:
        if text:
            command.write(text)
        command.close_stdin()
        command.end()
    return command


@pytest.mark.parametrize(
    "words",
    [
        ["submit", "q", "1"],
        ["submit", "q", "--file", "-"],
        ["result", "q/1"],
        ["status"],
        ["worker", "tasks:echo"],
    ],
    ids=lambda words: words[0],
)
def test_without_redis_every_command_gives_up_after_the_connect_timeout_with_69(
    words: list[str], tmp_path: Path
) -> None:
    (tmp_path / "tasks.py").write_text(TASKS)
    begun_s = time.monotonic()
    done = ran(*words, "--connect-timeout-s", "0.5", redis_url=NOWHERE, here=tmp_path)
    assert time.monotonic() - begun_s < 10
    assert done.end() == 69
    assert done.out == []
    (line,) = done.err
    assert line.startswith(f"microbatch {words[0]}: Redis at {NOWHERE} did not answer: ")
    assert "--redis-url" in line


def test_redis_that_comes_up_within_the_connect_timeout_is_waited_for(tmp_path: Path) -> None:
    port = free_port()
    url = f"redis://127.0.0.1:{port}/0"
    with Command("status", "--connect-timeout-s", LIMIT_S, redis_url=url, here=tmp_path) as command:
        # Its asking cannot be seen from outside, but it must not end.
        with pytest.raises(subprocess.TimeoutExpired):
            command.process.wait(0.6)
        with EmbeddedServer(port=port):
            assert command.end() == 0
            assert command.err == []


def test_redis_that_goes_away_in_the_middle_of_a_file_is_one_line_and_69(tmp_path: Path) -> None:
    with EmbeddedServer() as server:
        words = ("submit", "q", "--file", "-")
        with Command(
            *words, redis_url=server.url, here=tmp_path, MICROBATCH_COMMAND_TIMEOUT_S="0.5"
        ) as command:
            command.write("1\n")
            command.wait_for("q/", stream="out")
            server.stop()
            command.write("2\n")
            assert command.end() == 69
            (line,) = command.err
            assert "did not answer" in line
            assert line.endswith("lines answered before: 1")


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[str]:
    """A server with a password, by its URL without."""
    with EmbeddedServer(extra_args=["--requirepass", "hunter2"]) as server:
        yield server.url


def with_password(url: str, password: str) -> str:
    return url.replace("unix://", f"unix://default:{password}@", 1)


@pytest.mark.parametrize(
    "words", [["status"], ["submit", "q", "1"], ["worker", "tasks:echo"]], ids=lambda words: words[0]
)
def test_a_wrong_or_missing_password_is_exit_2_at_once_and_shows_no_password(
    words: list[str], locked: str, tmp_path: Path
) -> None:
    (tmp_path / "tasks.py").write_text(TASKS)
    for url in (locked, with_password(locked, "wrong-one")):
        begun_s = time.monotonic()
        done = ran(*words, redis_url=url, here=tmp_path)
        assert done.end() == 2
        assert time.monotonic() - begun_s < 9  # the connect timeout is 10
        (line,) = done.err
        assert "check user and password" in line
        assert "wrong-one" not in line


def test_the_right_password_is_taken(locked: str, tmp_path: Path) -> None:
    done = ran("status", "--json", redis_url=with_password(locked, "hunter2"), here=tmp_path)
    assert (done.end(), done.out, done.err) == (0, ["[]"], [])


def test_a_closed_pipe_is_no_reason_to_say_anything(redis_url: str, tmp_path: Path) -> None:
    script = f"'{MICROBATCH}' submit q --file - 2>err.txt | head -n 1; cat err.txt"
    lines = "".join(f"{number}\n" for number in range(20_000))
    done = subprocess.run(
        ["/bin/sh", "-c", script],
        cwd=tmp_path,
        env=os.environ | {"MICROBATCH_REDIS_URL": redis_url},
        input=lines,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr == ""


def test_a_misspelt_setting_is_one_line_and_no_failure(redis_url: str, tmp_path: Path) -> None:
    done = ran("status", redis_url=redis_url, here=tmp_path, MICROBATCH_REDISURL="x")
    assert done.end() == 0
    (line,) = done.err
    assert line.startswith("microbatch status: warning: MICROBATCH_REDISURL (environment) is no setting")


def test_an_embedded_server_can_be_named_by_url_and_ends_with_the_command(tmp_path: Path) -> None:
    place = f"embedded://{tmp_path / 'data'}"
    submitted = ran("submit", "q", '"x"', "--json", redis_url=place, here=tmp_path)
    assert submitted.end() == 0
    status = ran("status", "--json", redis_url=place, here=tmp_path)
    assert [row["waiting"] for row in json.loads(status.out[0])] == [1]


def test_help_comes_at_once(tmp_path: Path) -> None:
    times_s = []
    for _ in range(5):
        begun_s = time.monotonic()
        assert ran("--help", redis_url=NOWHERE, here=tmp_path).end() == 0
        times_s.append(time.monotonic() - begun_s)
    assert min(times_s) < 0.5  # alone on a machine 0.05; imports of Redis and pydantic would take 0.25 more
