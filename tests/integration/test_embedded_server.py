"""The embedded server with real processes: who starts it, who shares it, and that it always ends."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest
import redis

from microbatch.common.embedded import EmbeddedServer, guardian, resolve_url
from microbatch.common.embedded.binary import find_program
from microbatch.common.errors import EmbeddedServerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WAIT_S = 10.0

# A user in a process of its own. It says what it got, then does as it is told until it is told to leave.
USER = """
import json, os, signal, sys
from pathlib import Path
from microbatch.common.embedded import EmbeddedServer
signal.signal(signal.SIGINT, signal.SIG_IGN)
directory, program = sys.argv[1:]
server = EmbeddedServer(Path(directory) if directory else None, program=Path(program))
for line in sys.stdin:
    if line.strip() == "start":
        server.start()
    elif line.strip() == "fork":
        child = os.fork()
        if child == 0:
            server.stop()
            sys.exit()  # and not os._exit: the handlers at exit are under test
        os.waitpid(child, 0)
    elif line.strip() == "stop":
        server.stop()
        print("{}", flush=True)
        continue
    print(json.dumps([server.pid, server.url, str(server.data_dir)]), flush=True)
"""


class User:
    """The test's side of a `USER` process."""

    def __init__(self, program: Path, directory: Path | str = "") -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", USER, str(directory), str(program)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.process_id = self._process.pid
        self.pid, self.url, self.data_dir = 0, "", Path()

    def send(self, word: str) -> Self:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()
        return self

    def answer(self) -> Self:
        assert self._process.stdout is not None
        answer: Any = json.loads(self._process.stdout.readline())
        if answer:
            self.pid, self.url, self.data_dir = answer[0], answer[1], Path(answer[2])
        return self

    def start(self) -> Self:
        return self.send("start").answer()

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=WAIT_S)  # closes its stdin: it leaves


def _eventually(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, f"not within {WAIT_S:g} s: {what}"
        time.sleep(0.01)


def _runs(pid: int) -> bool:
    """Whether a process runs; one that ended and was not reaped yet (by a slow init) does not."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except ProcessLookupError:
        return False
    except FileNotFoundError:
        return sys.platform != "linux"


def _gone(pid: int) -> Callable[[], bool]:
    return lambda: not _runs(pid)


def _call(url: str, *words: str) -> Any:
    with redis.Redis.from_url(url, decode_responses=True, protocol=2) as client:
        return client.execute_command(*words)


def _guardian_pid(server: EmbeddedServer) -> int:
    record = json.loads((server.data_dir / guardian.RECORD).read_bytes())
    return int(record["guardian_pid"])


def _processes_naming(text: str) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            command = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if text in command:
                found.append(command)
    return found


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The temporary directory of all processes of a test, which no process and no file outlives.

    It asks for `tmp_path` because pytest would else make its own directories in here.
    """
    path = Path(tempfile.mkdtemp(prefix="mb", dir="/tmp"))
    monkeypatch.setenv("TMPDIR", str(path))
    monkeypatch.setattr(tempfile, "tempdir", str(path))
    yield path
    try:
        _eventually(lambda: not _processes_naming(str(path)), f"no process names {path}")
        _eventually(lambda: not list(path.iterdir()), f"{path} is empty")
    finally:
        shutil.rmtree(path)


@pytest.fixture(params=["packaged", "redis-server"])
def program(request: pytest.FixtureRequest) -> Path:
    if request.param == "packaged":
        return find_program()
    found = shutil.which(request.param)
    if found is None:
        pytest.skip(f"no {request.param} on PATH")
    return Path(found)


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "a long name, with blanks, \"quotes\" and 'more'" / ("x" * 100)  # too long for a socket


def test_it_starts_and_answers(program: Path) -> None:
    with EmbeddedServer(program=program) as server:
        assert _call(server.url, "PING") is True
        assert _call(server.url, "CONFIG", "GET", "hash-max-listpack-value")[1] == "1024"
        assert (server.program, server.tcp_url) == (program, None)
        assert server.data_dir.stat().st_mode & 0o777 == 0o700


def test_a_private_server_and_its_directory_are_gone_after_stop(program: Path) -> None:
    server = EmbeddedServer(program=program).start()
    pid, directory = server.pid, server.data_dir
    server.stop()

    assert not _runs(pid)
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
            assert _call(server.url, "PING") is True


def test_the_server_ends_when_its_only_user_is_killed(program: Path) -> None:
    with User(program) as user:
        user.start().kill()

        _eventually(_gone(user.pid), "the server is gone")
        _eventually(lambda: not user.data_dir.exists(), "its directory is gone")


def test_a_user_that_exits_without_stop_leaves_nothing(program: Path) -> None:
    with User(program) as user:
        user.start()

    assert not _runs(user.pid)
    assert not user.data_dir.exists()


def test_a_second_process_shares_the_data_and_survives_the_first_ones_death(
    program: Path, data_dir: Path
) -> None:
    with User(program, data_dir) as first, User(program, data_dir) as second:
        first.start()
        _call(first.url, "SET", "key", "value")
        second.start()

        assert (second.pid, second.url) == (first.pid, first.url)

        first.kill()

        assert _call(second.url, "GET", "key") == "value"

        second.send("stop").answer()

        assert not _runs(second.pid)


def test_shared_data_survive_a_restart(program: Path, data_dir: Path) -> None:
    with EmbeddedServer(data_dir, program=program) as server:
        _call(server.url, "SET", "key", "value")
    with EmbeddedServer(data_dir, program=program) as server:
        assert _call(server.url, "GET", "key") == "value"


def test_data_survive_when_the_server_is_killed(program: Path, data_dir: Path) -> None:
    with EmbeddedServer(data_dir, program=program) as server:
        _call(server.url, "SET", "key", "value")
        os.kill(server.pid, signal.SIGKILL)
        _eventually(_gone(server.pid), "the server is gone")

        assert _call(server.start().url, "GET", "key") == "value"


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

        assert time.monotonic() - started < 1
        assert _call(stays.url, "PING") is True


def test_a_user_that_arrives_during_the_stop_gets_a_living_server(data_dir: Path) -> None:
    server = EmbeddedServer(data_dir).start()
    for turn in range(8):
        arrives = EmbeddedServer(data_dir)
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        time.sleep(turn * 0.003)  # varies the race, synchronises nothing
        arrives.start()
        stopping.join()

        assert _call(arrives.url, "PING") is True

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

    assert not _runs(pid)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux kills a child with its parent")
def test_the_server_dies_with_its_guardian_and_the_last_user_sweeps(program: Path) -> None:
    with EmbeddedServer(program=program) as server:
        os.kill(_guardian_pid(server), signal.SIGKILL)
        _eventually(_gone(server.pid), "the server is gone")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux kills a child with its parent")
def test_after_its_guardians_death_a_shared_server_is_started_anew(program: Path, data_dir: Path) -> None:
    with EmbeddedServer(data_dir, program=program) as server, EmbeddedServer(data_dir) as other:
        _call(server.url, "SET", "key", "value")
        os.kill(_guardian_pid(server), signal.SIGKILL)
        _eventually(_gone(server.pid), "the server is gone")
        other.start()

        assert _call(server.url, "GET", "key") == "value"


@pytest.mark.parametrize("private", [True, False])
def test_a_guardian_ends_with_its_server_and_the_next_start_has_the_same_url(
    program: Path, data_dir: Path, *, private: bool
) -> None:
    with EmbeddedServer(None if private else data_dir, program=program) as server:
        dead, dead_guardian, url = server.pid, _guardian_pid(server), server.url
        os.kill(dead, signal.SIGKILL)
        _eventually(_gone(dead_guardian), "the guardian is gone")
        server.start()

        assert server.pid != dead
        assert server.url == url
        assert _call(url, "PING") is True


def test_a_crashed_private_server_leaves_nothing_after_stop(program: Path) -> None:
    with EmbeddedServer(program=program) as server:
        guardian_pid = _guardian_pid(server)
        os.kill(server.pid, signal.SIGKILL)
        _eventually(_gone(guardian_pid), "the guardian is gone")

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
        os.kill(_guardian_pid(server), signal.SIGTERM)
        _eventually(_gone(server.pid), "the server is gone")


def test_a_server_that_does_not_react_is_killed() -> None:
    server = EmbeddedServer().start()
    pid = server.pid
    os.kill(pid, signal.SIGSTOP)
    server.stop()

    assert not _runs(pid)


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
    _eventually(lambda: guardian.answers(address), "the orphan answers")
    _call(f"unix://{address}", "SET", "key", "value")
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    record = {"pid": orphan.pid, "guardian_pid": dead.pid, "socket": address}
    record |= {"port": None, "program": str(program), "version": "7"}
    (data_dir / guardian.RECORD).write_text(json.dumps(record))

    with EmbeddedServer(data_dir, program=program) as server:
        assert orphan.wait(WAIT_S) == 0
        assert server.pid != orphan.pid
        assert _call(server.url, "GET", "key") == "value"


def test_ctrl_c_in_the_users_terminal_does_not_reach_the_server(program: Path) -> None:
    with User(program) as user:
        user.start()

        assert os.getsid(user.pid) != os.getsid(user.process_id)

        os.killpg(user.process_id, signal.SIGINT)

        assert _call(user.url, "PING") is True


def test_a_forked_child_does_not_stop_its_parents_server(program: Path) -> None:
    with User(program) as user:
        pid = user.start().pid
        user.send("fork").answer()

        assert user.pid == pid
        assert _call(user.url, "PING") is True


def test_a_port_is_bound_to_this_machine_only(program: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with EmbeddedServer(program=program, port=port) as server:
        assert server.tcp_url == f"redis://127.0.0.1:{port}/0"
        assert _call(server.tcp_url, "PING") is True
        assert _call(server.url, "CONFIG", "GET", "bind")[1] == "127.0.0.1"


def test_a_taken_port_is_an_error_with_the_servers_own_words(program: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(EmbeddedServerError, match=r"(?i)listen") as caught:
            EmbeddedServer(program=program, port=taken.getsockname()[1]).start()

    assert "\n" not in str(caught.value)


def test_a_running_server_without_the_port_is_an_error(data_dir: Path) -> None:
    with EmbeddedServer(data_dir), pytest.raises(EmbeddedServerError, match="already runs without port 7001"):
        EmbeddedServer(data_dir, port=7001).start()


def test_more_arguments_win_and_a_wrong_one_is_an_error_that_names_it(program: Path) -> None:
    with EmbeddedServer(program=program, extra_args=["--hz", "50"]) as server:
        assert _call(server.url, "CONFIG", "GET", "hz")[1] == "50"
    with pytest.raises(EmbeddedServerError, match="no-such-option"):
        EmbeddedServer(program=program, extra_args=["--no-such-option", "1"]).start()


def test_a_server_with_a_password_counts_as_ready(program: Path) -> None:
    with EmbeddedServer(program=program, extra_args=["--requirepass", "secret"]) as server:
        assert _call(server.url.replace("unix://", "unix://:secret@"), "PING") is True


def test_a_program_that_is_no_server_is_an_error(data_dir: Path) -> None:
    false = shutil.which("false")
    assert false is not None
    with pytest.raises(EmbeddedServerError, match="it ended with 1 and said: nothing"):
        EmbeddedServer(program=Path(false)).start()
    with pytest.raises(EmbeddedServerError, match="not an executable file"):
        EmbeddedServer(data_dir, program=Path("/no/such/program")).start()


@pytest.mark.parametrize("directory", ["/dev/null", "/dev/null/below", "/proc/none", "/tmp/a\0b"])  # noqa: S108 - never made
def test_a_directory_that_cannot_be_used_is_an_error(directory: str) -> None:
    with pytest.raises(EmbeddedServerError, match="that this user may write"):
        EmbeddedServer(Path(directory)).start()


def test_clients_of_one_process_share_its_private_server() -> None:
    first_url, first = resolve_url("embedded://")
    second_url, second = resolve_url("embedded://")
    assert first is not None
    assert second is not None
    pid = first.pid

    assert (second_url, second.pid) == (first_url, pid)

    first.stop()
    first.stop()

    assert _call(second_url, "PING") is True

    second.stop()

    assert not _runs(pid)

    third_url, third = resolve_url("embedded://")
    assert third is not None
    with third:
        assert _call(third_url, "PING") is True


def test_an_embedded_url_with_a_path_attaches_to_that_directory(tmp_path: Path) -> None:
    url, server = resolve_url(f"embedded://{tmp_path}/a%20b")
    assert server is not None
    with server:
        assert server.data_dir == tmp_path / "a b"
        assert _call(url, "PING") is True
