"""The embedded server when processes die, stall or are interrupted: it always ends, and starts anew."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from microbatch.common.embedded import EmbeddedServer, guardian
from microbatch.common.errors import EmbeddedServerError

if TYPE_CHECKING:
    from pathlib import Path


from tests.embedded.users import WAIT_S, User, call, eventually, gone, guardian_pid, runs


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux kills a child with its parent")
def test_the_server_dies_with_its_guardian_and_the_last_user_sweeps(program: Path) -> None:
    with EmbeddedServer(program=program) as server:
        os.kill(guardian_pid(server), signal.SIGKILL)
        eventually(gone(server.pid), "the server is gone")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux kills a child with its parent")
def test_after_its_guardians_death_a_shared_server_is_started_anew(program: Path, data_dir: Path) -> None:
    with EmbeddedServer(data_dir, program=program) as server, EmbeddedServer(data_dir) as other:
        call(server.url, "SET", "key", "value")
        os.kill(guardian_pid(server), signal.SIGKILL)
        eventually(gone(server.pid), "the server is gone")
        other.start()

        assert call(server.url, "GET", "key") == "value"


@pytest.mark.parametrize("private", [True, False])
def test_a_guardian_ends_with_its_server_and_the_next_start_has_the_same_url(
    program: Path, data_dir: Path, *, private: bool
) -> None:
    with EmbeddedServer(None if private else data_dir, program=program) as server:
        dead, dead_guardian, url = server.pid, guardian_pid(server), server.url
        os.kill(dead, signal.SIGKILL)
        eventually(gone(dead_guardian), "the guardian is gone")
        server.start()

        assert server.pid != dead
        assert server.url == url
        assert call(url, "PING") is True


def test_a_crashed_private_server_leaves_nothing_after_stop(program: Path) -> None:
    with EmbeddedServer(program=program) as server:
        keeper_pid = guardian_pid(server)
        os.kill(server.pid, signal.SIGKILL)
        eventually(gone(keeper_pid), "the guardian is gone")

        assert server.data_dir.exists()

    assert not server.data_dir.exists()


def test_a_socket_directory_of_somebody_else_is_refused(data_dir: Path, scratch: Path) -> None:
    data_dir.mkdir(parents=True)
    found = data_dir.stat()
    theirs = scratch / f"microbatch-{os.geteuid():x}-{found.st_dev:x}-{found.st_ino:x}"
    theirs.mkdir()
    theirs.chmod(0o777)
    with pytest.raises(EmbeddedServerError, match="not this user's alone"):
        EmbeddedServer(data_dir).start()
    theirs.rmdir()


def test_a_starter_that_blocks_signals_does_not_slow_the_stop_down() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    try:
        server = EmbeddedServer().start()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
    started = time.monotonic()
    server.stop()

    assert time.monotonic() - started < guardian.STOP_TIMEOUT_S


def test_a_guardian_that_is_told_to_end_stops_its_server(program: Path) -> None:
    with EmbeddedServer(program=program) as server:
        os.kill(guardian_pid(server), signal.SIGTERM)
        eventually(gone(server.pid), "the server is gone")


def test_a_server_that_does_not_react_is_killed() -> None:
    server = EmbeddedServer().start()
    pid = server.pid
    os.kill(pid, signal.SIGSTOP)
    server.stop()

    assert not runs(pid)


def test_an_orphaned_server_is_replaced_and_its_data_kept(
    program: Path, data_dir: Path, scratch: Path
) -> None:
    data_dir.mkdir(parents=True)
    address = str(scratch / "s.sock")
    lock = guardian.open_lock(data_dir / guardian.SERVER_LOCK)
    assert guardian.acquire(lock, fcntl.LOCK_EX, 0)
    orphan = subprocess.Popen(
        [str(program), "--port", "0", "--unixsocket", address, "--dir", str(data_dir), "--appendonly", "yes"],
        stdout=subprocess.DEVNULL,
        pass_fds=(lock,),
    )
    os.close(lock)
    eventually(lambda: guardian.answers(address), "the orphan answers")
    call(f"unix://{address}", "SET", "key", "value")
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    record = {"pid": orphan.pid, "guardian_pid": dead.pid, "socket": address}
    record |= {"port": None, "program": str(program), "version": "7"}
    (data_dir / guardian.RECORD).write_text(json.dumps(record))

    with EmbeddedServer(data_dir, program=program) as server:
        assert orphan.wait(WAIT_S) == 0
        assert server.pid != orphan.pid
        assert call(server.url, "GET", "key") == "value"


def test_ctrl_c_in_the_users_terminal_does_not_reach_the_server(program: Path) -> None:
    with User(program) as user:
        user.start()

        assert os.getsid(user.pid) != os.getsid(user.process_id)

        os.killpg(user.process_id, signal.SIGINT)

        assert call(user.url, "PING") is True


def test_a_forked_child_does_not_stop_its_parents_server(program: Path) -> None:
    with User(program) as user:
        pid = user.start().pid
        user.send("fork").answer()

        assert user.pid == pid
        assert call(user.url, "PING") is True
