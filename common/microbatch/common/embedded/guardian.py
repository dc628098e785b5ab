"""The guardian: the small process that owns one embedded server, from its first breath to its last file.

It runs as `python -I -S guardian.py ORDER`, one for each data directory that has a server, in its own
session, as nobody's child. These files in the data directory are all that it shares with the users:

    users.lock    held shared by every user; the guardian gets it exclusively when nobody is left
    start.lock    held exclusively by the one process that attaches or starts
    server.lock   held exclusively by the guardian and, inherited, by the server
    server.json   how to reach the running server; written by the guardian alone
    server.log    what the server and the guardian say

Rules: a server runs only while `users.lock` is held by a user, and the kernel drops that lock with the
user's process, however it dies. No two servers ever open one directory, because `server.lock` stays
taken until the guardian *and* its server are gone. Nothing here waits without a bound but for users.

It never imports more than the standard library, for it has to be up in milliseconds, and it never
signals a process that is not its child.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

# The value of `typing.TYPE_CHECKING`, without the milliseconds that importing `typing` costs.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from microbatch.common.embedded.records import Order, Record

USERS_LOCK = "users.lock"
START_LOCK = "start.lock"
SERVER_LOCK = "server.lock"
RECORD = "server.json"
LOG = "server.log"

POLL_S = 0.01  # between two looks at a lock or a server that is coming up
TAKEOVER_TIMEOUT_S = 8.0  # for the directory's last server to be gone; above STOP_TIMEOUT_S
READY_TIMEOUT_S = 30.0  # for a server to load its data and answer
STOP_TIMEOUT_S = 3.0  # from SIGTERM to SIGKILL; below what `EmbeddedServer.stop` waits
ASK_TIMEOUT_S = 5.0  # for one answer of a server that accepts connections

_PR_SET_PDEATHSIG = 1


def open_lock(path: Path) -> int:
    """Open a lock file by a file description of its own: flocks belong to descriptions."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def acquire(lock: int, operation: int, timeout_s: float) -> bool:
    """Take a flock; False where it was not to be had within `timeout_s` (0: try once)."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            fcntl.flock(lock, operation | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(POLL_S)  # flock knows no time-out, and an alarm would disturb the user's process
        else:
            return True


def ask(socket_path: str, command: str, timeout_s: float = ASK_TIMEOUT_S) -> bytes:
    """Send one inline command; the start of the answer, empty where nobody answers."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(timeout_s)
        connection.connect(socket_path)
        connection.sendall(command.encode() + b"\r\n")
        return connection.recv(1 << 14)
    return b""


def answers(socket_path: str) -> bool:
    """Whether a server there takes commands: an error is an answer too, loading its data is not."""
    reply = ask(socket_path, "PING")
    return bool(reply) and not reply.startswith(b"-LOADING")


def sweep(directory: Path, socket_path: str, *, private: bool, is_starter: bool = False) -> None:
    """Remove what a server leaves behind. The caller holds `server.lock`: no server runs here."""
    with contextlib.suppress(OSError):
        (directory / RECORD).unlink()
    if socket_path:  # empty where the start failed before there was one
        with contextlib.suppress(OSError):
            Path(socket_path).unlink()
        with contextlib.suppress(OSError):  # rmdir and not rmtree: it spares a directory with more in it
            Path(socket_path).parent.rmdir()
    if not private:
        return
    with contextlib.suppress(OSError):
        start_lock = open_lock(directory / START_LOCK)
        try:
            # Somebody who is starting a server here would lose the directory under their feet: it is
            # theirs now, and their guardian removes it.
            if is_starter or acquire(start_lock, fcntl.LOCK_EX, 0):
                import shutil  # noqa: PLC0415 - takes 5 ms of a start and is needed only here

                # Renamed first: a lock file that a newcomer creates half-way would keep rmtree from ending.
                shutil.rmtree(directory.rename(f"{directory}.gone"), ignore_errors=True)
        finally:
            os.close(start_lock)


class _StartError(Exception):
    """The server cannot be started; its sentence goes to the starter."""


class _Guardian:
    """One directory's server: started, reported, waited for and swept."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._directory = Path(order["directory"])
        self._users_lock = open_lock(self._directory / USERS_LOCK)
        self._server_lock = open_lock(self._directory / SERVER_LOCK)
        self._socket = ""
        self._log_start = 0

    def run(self) -> int:
        if not acquire(self._server_lock, fcntl.LOCK_EX, TAKEOVER_TIMEOUT_S):
            _report({"error": "the server before it still runs and does not answer: end that process"})
            return 1
        try:
            server = self._spawn()
            try:
                record = self._wait_until_ready(server)
            except BaseException:
                server.kill()
                server.wait()
                raise
        except (_StartError, OSError) as error:
            sweep(self._directory, self._socket, private=self._order["private"], is_starter=True)
            _report({"error": " ".join(str(error).split())})
            return 1
        signal.signal(signal.SIGTERM, lambda *_: server.terminate())
        threading.Thread(target=self._stop_when_unused, args=(server,), daemon=True).start()
        _report(record)
        server.wait()
        # After the server's end, whoever caused it, and before `server.lock` goes with this process: a
        # later guardian's files cannot be here yet. The directory of users whose server crashed is spared:
        # their next start brings it back under the URL that their clients know.
        unused = acquire(self._users_lock, fcntl.LOCK_EX, 0)
        sweep(self._directory, self._socket, private=self._order["private"] and unused)
        return 0

    def _spawn(self) -> subprocess.Popen[bytes]:
        self._log_start = os.fstat(sys.stderr.fileno()).st_size
        self._socket = str(self._socket_dir() / "s.sock")
        return subprocess.Popen(  # noqa: S603 - the program that the user chose
            self._command(),
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            pass_fds=(self._server_lock,),
            preexec_fn=_die_with(os.getpid()),  # noqa: PLW1509 - no thread runs yet in this process
        )

    def _wait_until_ready(self, server: subprocess.Popen[bytes]) -> Record:
        deadline = time.monotonic() + READY_TIMEOUT_S
        while not answers(self._socket):
            if server.poll() is not None:
                raise _StartError(f"it ended with {server.returncode} and said: {self._last_words()}")
            if time.monotonic() >= deadline:
                raise _StartError(f"not ready in {READY_TIMEOUT_S:g} s, and said: {self._last_words()}")
            time.sleep(POLL_S)  # a server can tell nobody that it is up
        record: Record = {
            "pid": server.pid,
            "guardian_pid": os.getpid(),
            "socket": self._socket,
            "port": self._order["port"],
            "program": self._order["program"],
            "version": _version(self._socket),
        }
        draft = self._directory / f"{RECORD}.draft"
        draft.write_text(json.dumps(record))
        draft.rename(self._directory / RECORD)  # in one step: nobody reads half a record
        return record

    def _socket_dir(self) -> Path:
        path = Path(self._order["socket_dir"])
        path.mkdir(mode=0o700, exist_ok=True)
        found = path.lstat()
        # The name can be foreseen: where another user made it first, the socket would be theirs to swap.
        if found.st_uid != os.geteuid() or found.st_mode & 0o077:
            raise _StartError(f"{path} is not this user's alone: remove it, or set $TMPDIR")
        return path

    def _command(self) -> list[str]:
        order = self._order
        listen = ["--port", str(order["port"] or 0)]
        if order["port"]:
            listen += ["--bind", "127.0.0.1"]
        return [
            *(order["program"], *listen),
            *("--unixsocket", self._socket, "--unixsocketperm", "700"),
            *("--dir", str(self._directory), "--logfile", "", "--daemonize", "no"),
            # A private server's data die with it. A shared one's are in the log file before the client
            # has its answer, so not even SIGKILL loses them; a snapshot would only add a second truth.
            *("--save", "", "--appendonly", "no" if order["private"] else "yes"),
            # A final record with a 200-byte result takes 472 bytes instead of 1,216.
            *("--hash-max-listpack-value", "1024", "--maxmemory-policy", "noeviction"),
            # An idle server looks at the time-outs of blocked clients and at SIGTERM `hz` times a second:
            # measured, BLOCK 5 ms takes 100 ms at the default of 10 and 10 ms here, for under 1 % of a core.
            *("--hz", "100"),
            *order["extra_args"],
        ]

    def _stop_when_unused(self, server: subprocess.Popen[bytes]) -> None:
        # In a thread: waiting for a lock and waiting for a child cannot be one wait without a poll loop.
        # The lock is kept until this process ends, so that a newcomer cannot meet a dying server.
        fcntl.flock(self._users_lock, fcntl.LOCK_EX)
        server.terminate()
        try:
            server.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            server.kill()

    def _last_words(self) -> str:
        with (self._directory / LOG).open("rb") as log:
            log.seek(self._log_start)
            lines = [line for line in log.read().decode(errors="replace").splitlines() if line.strip()]
        # After a wrong option the last line says what, the one before says where.
        kept = lines[-2:] if lines[-2:-1] and lines[-2].startswith(">>>") else lines[-1:]
        return " ".join(line.partition(" # ")[2] or line for line in kept) or "nothing"


def _version(socket_path: str) -> str:
    found = ""
    for line in ask(socket_path, "INFO server").decode(errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name in {"redis_version", "valkey_version"}:
            found = value  # Valkey says both, its own last
    return found


def _die_with(guardian_pid: int) -> Callable[[], None] | None:
    """What the child does before it becomes the server: ask the kernel to die with its guardian."""
    if sys.platform != "linux":
        return None  # `launch.py` ends an orphan before it starts another
    import ctypes  # noqa: PLC0415 - exists for this one call

    libc = ctypes.CDLL(None)

    def ask_the_kernel() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != guardian_pid:
            os._exit(1)  # the guardian died before prctl, and nobody would ever send the signal

    return ask_the_kernel


def _report(answer: Record | dict[str, str]) -> None:
    """Answer the starter and let go of its pipe."""
    with contextlib.suppress(BrokenPipeError):  # a starter that died is a user that left: no answer needed
        os.write(1, json.dumps(answer).encode())
    os.dup2(2, 1)


def main(order_json: str) -> int:
    """Leave the starter's family, then run the server to its end.

    Args:
        order_json: An `Order`.

    Returns:
        The exit status.
    """
    if os.fork():
        os._exit(0)  # so that no user has a child to reap, and no `waitpid(-1)` of theirs finds ours
    os.umask(0o077)
    # A thread that starts us may block signals, and the server would inherit that and miss its SIGTERM.
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return _Guardian(json.loads(order_json)).run()


if __name__ == "__main__":
    # Not sys.exit: it would wait for the thread that may hold the lock and has nothing left to do.
    os._exit(main(sys.argv[1]))
