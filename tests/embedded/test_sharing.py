"""The embedded server with real processes: who starts it, who shares it, who stops it."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from typing import TYPE_CHECKING

import pytest

from microbatch.common.embedded import EmbeddedServer, lease
from microbatch.common.errors import EmbeddedServerError

if TYPE_CHECKING:
    from pathlib import Path


from tests.embedded.users import User, call, eventually, gone, runs


def test_it_starts_and_answers(program: Path) -> None:
    with EmbeddedServer(program=program) as server:
        assert call(server.url, "PING") is True
        assert call(server.url, "CONFIG", "GET", "hash-max-listpack-value")[1] == "1024"
        assert (server.program, server.tcp_url) == (program, None)
        assert server.data_dir.stat().st_mode & 0o777 == 0o700


def test_a_private_server_and_its_directory_are_gone_after_stop(program: Path) -> None:
    server = EmbeddedServer(program=program).start()
    pid, directory = server.pid, server.data_dir
    server.stop()

    assert not runs(pid)
    assert not directory.exists()

    server.stop()
    with pytest.raises(EmbeddedServerError, match="not started"):
        _ = server.url


def test_start_is_idempotent(program: Path) -> None:
    with EmbeddedServer(program=program) as server:
        pid = server.pid

        assert server.start().pid == pid


def test_a_stopped_server_can_be_started_again(program: Path) -> None:
    server = EmbeddedServer(program=program)
    for _ in range(2):
        with server:
            assert call(server.url, "PING") is True


def test_the_server_ends_when_its_only_user_is_killed(program: Path) -> None:
    with User(program) as user:
        user.start().kill()

        eventually(gone(user.pid), "the server is gone")
        eventually(lambda: not user.data_dir.exists(), "its directory is gone")


def test_a_user_that_exits_without_stop_leaves_nothing(program: Path) -> None:
    with User(program) as user:
        user.start()

    assert not runs(user.pid)
    assert not user.data_dir.exists()


def test_a_second_process_shares_the_data_and_survives_the_first_ones_death(
    program: Path, data_dir: Path
) -> None:
    with User(program, data_dir) as first, User(program, data_dir) as second:
        first.start()
        call(first.url, "SET", "key", "value")
        second.start()

        assert (second.pid, second.url) == (first.pid, first.url)

        first.kill()

        assert call(second.url, "GET", "key") == "value"

        second.send("stop").answer()

        assert not runs(second.pid)


def test_shared_data_survive_a_restart(program: Path, data_dir: Path) -> None:
    with EmbeddedServer(data_dir, program=program) as server:
        call(server.url, "SET", "key", "value")
    with EmbeddedServer(data_dir, program=program) as server:
        assert call(server.url, "GET", "key") == "value"


def test_data_survive_when_the_server_is_killed(program: Path, data_dir: Path) -> None:
    with EmbeddedServer(data_dir, program=program) as server:
        call(server.url, "SET", "key", "value")
        os.kill(server.pid, signal.SIGKILL)
        eventually(gone(server.pid), "the server is gone")

        assert call(server.start().url, "GET", "key") == "value"


def test_processes_that_start_together_get_one_server(program: Path, data_dir: Path) -> None:
    with contextlib.ExitStack() as stack:
        users = [stack.enter_context(User(program, data_dir)) for _ in range(3)]
        for user in users:
            user.send("start")

        assert len({user.answer().pid for user in users}) == 1


def test_stop_does_not_wait_where_others_stay(program: Path, data_dir: Path) -> None:
    with EmbeddedServer(data_dir, program=program) as stays:
        leaves = EmbeddedServer(data_dir).start()
        started = time.monotonic()
        leaves.stop()

        assert time.monotonic() - started < lease.END_TIMEOUT_S
        assert call(stays.url, "PING") is True


def test_a_user_that_arrives_during_the_stop_gets_a_living_server(data_dir: Path) -> None:
    server = EmbeddedServer(data_dir).start()
    for turn in range(8):
        arrives = EmbeddedServer(data_dir)
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        time.sleep(turn * 0.003)  # varies the race, synchronises nothing
        arrives.start()
        stopping.join()

        assert call(arrives.url, "PING") is True

        server = arrives
    server.stop()


def test_users_that_stop_together_all_see_the_end(data_dir: Path) -> None:
    servers = [EmbeddedServer(data_dir).start() for _ in range(3)]
    pid = servers[0].pid
    threads = [threading.Thread(target=server.stop) for server in servers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert not runs(pid)
