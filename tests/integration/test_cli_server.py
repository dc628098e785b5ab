"""`microbatch server`: a real server in the foreground, gone when it is told to go."""

from __future__ import annotations

import json
import os
import signal
import socket
from typing import TYPE_CHECKING

import pytest
import redis
from tests.integration.command import NOWHERE, Command, free_port, ran_here, until

if TYPE_CHECKING:
    from pathlib import Path


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_it_is_told_to_stop(number: signal.Signals, tmp_path: Path) -> None:
    port = free_port()
    with Command("server", "--port", port, "--json", redis_url=NOWHERE, here=tmp_path) as command:
        told = json.loads(command.wait_for("{", stream="out"))
        assert told.keys() == {"url", "tcp_url", "pid"}
        assert told["tcp_url"] == f"redis://127.0.0.1:{port}/0"
        for url in (told["url"], told["tcp_url"]):
            with redis.Redis.from_url(url) as client:
                assert client.ping()
        command.tell(number)
        assert command.end() == 0
        assert command.err == []
    assert is_gone(told["pid"])


def test_without_a_port_it_prints_the_one_url_that_it_has(tmp_path: Path) -> None:
    with Command("server", redis_url=NOWHERE, here=tmp_path) as command:
        url = command.wait_for("unix://", stream="out")
        assert ran_here("submit", "q", "1", "--redis-url", url, redis_url=NOWHERE, here=tmp_path).code == 0
        command.tell(signal.SIGTERM)
        assert command.end() == 0
        assert command.out == [url]


def test_a_data_directory_keeps_what_was_submitted(tmp_path: Path) -> None:
    for waiting in (1, 2):
        with Command("server", "--data-dir", "data", redis_url=NOWHERE, here=tmp_path) as command:
            url = command.wait_for("unix://", stream="out")
            ran_here("submit", "q", waiting, redis_url=url, here=tmp_path)
            status = ran_here("status", "--json", redis_url=url, here=tmp_path)
            assert [row["waiting"] for row in json.loads(status.out[0])] == [waiting]
            command.tell(signal.SIGTERM)
            assert command.end() == 0


def test_a_server_that_crashes_is_started_anew_with_the_same_url(tmp_path: Path) -> None:
    with Command("server", "--json", redis_url=NOWHERE, here=tmp_path) as command:
        told = json.loads(command.wait_for("{", stream="out"))
        os.kill(told["pid"], signal.SIGKILL)

        def is_back() -> bool:
            try:
                with redis.Redis.from_url(told["url"]) as client:
                    return bool(client.ping())
            except redis.ConnectionError:
                return False

        until(lambda: is_gone(told["pid"]), "its end")
        until(is_back, "another server")
        command.tell(signal.SIGTERM)
        assert command.end() == 0


def test_a_port_that_is_taken_is_one_line_and_exit_69(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = ran_here("server", "--port", taken.getsockname()[1], redis_url=NOWHERE, here=tmp_path)
    assert (done.code, done.out) == (69, [])
    (line,) = done.err
    assert line.startswith("microbatch server: ")
