"""What holds for every `microbatch` command."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.integration.command import LIMIT_S, MICROBATCH, NOWHERE, Command, free_port, ran, ran_here

from microbatch.common.embedded import EmbeddedServer

if TYPE_CHECKING:
    from collections.abc import Iterator

TASKS = """
from microbatch.worker import batch_processor

@batch_processor(queue="echo")
def echo(values):
    return values
"""


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
    # By the environment's limit it would still ask when the test has lost its patience.
    environment = {"MICROBATCH_CONNECT_TIMEOUT_S": "3600"}
    command = (*words, "--connect-timeout-s", "0.5")
    done = ran_here(*command, redis_url=NOWHERE, here=tmp_path, **environment)
    assert (done.code, done.out) == (69, [])
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
        done = ran_here(*words, "--connect-timeout-s", "3600", redis_url=url, here=tmp_path)
        assert done.code == 2
        (line,) = done.err
        assert "check user and password" in line
        assert "wrong-one" not in line


def test_the_right_password_is_taken(locked: str, tmp_path: Path) -> None:
    done = ran_here("status", "--json", redis_url=with_password(locked, "hunter2"), here=tmp_path)
    assert done == (0, ["[]"], [])


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
    done = ran_here("status", redis_url=redis_url, here=tmp_path, MICROBATCH_REDISURL="x")
    assert done.code == 0
    (line,) = done.err
    assert line.startswith("microbatch status: warning: MICROBATCH_REDISURL (environment) is no setting")


def test_an_embedded_server_can_be_named_by_url_and_ends_with_the_command(tmp_path: Path) -> None:
    place = f"embedded://{tmp_path / 'data'}"
    assert ran("submit", "q", '"x"', "--json", redis_url=place, here=tmp_path).end() == 0
    status = ran("status", "--json", redis_url=place, here=tmp_path)
    assert [row["waiting"] for row in json.loads(status.out[0])] == [1]


def test_a_full_disk_under_stdout_is_one_line(redis_url: str, tmp_path: Path) -> None:
    device = Path("/dev/full")
    if not device.exists():
        pytest.skip("no /dev/full")
    with device.open("w") as full:
        done = subprocess.run(
            [MICROBATCH, "submit", "echo", "1"],
            cwd=tmp_path,
            env=os.environ | {"MICROBATCH_REDIS_URL": redis_url},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "No space left on device" in line
