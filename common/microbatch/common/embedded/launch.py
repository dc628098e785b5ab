"""Attaching to a directory's server, or starting it: how a user gets a lease.

Rule: `start.lock` is held from the first look until the server answers, so that of many processes that
arrive together one starts the server and the others attach to it; and the user's own lock is taken
before a guardian is started, so that a guardian never sees a server without a user.

It never starts the server itself (that is `guardian.py`) and never signals a process.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from microbatch.common.embedded import guardian
from microbatch.common.embedded.binary import check_program, find_program
from microbatch.common.embedded.lease import Lease
from microbatch.common.embedded.locks import FileLock
from microbatch.common.embedded.records import Order, Running
from microbatch.common.errors import EmbeddedServerError

_REPORT_TIMEOUT_S = guardian.TAKEOVER_TIMEOUT_S + guardian.READY_TIMEOUT_S + 5.0
_START_LOCK_TIMEOUT_S = 2 * _REPORT_TIMEOUT_S
_LOG_LIMIT_BYTES = 1 << 20
_BASE_LIMIT_BYTES = 50  # a socket's path has 103 bytes on macOS, `_socket_dir` adds up to 53


class DirectoryGone(Exception):
    """The private directory was removed, because its last user left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a user asks for. All but the first two only matter to the one that starts the server."""

    directory: Path
    private: bool
    port: int | None
    program: Path | None
    extra_args: tuple[str, ...]


def new_private_directory() -> Path:
    """Make a fresh directory with a short path that only this user can enter."""
    return Path(tempfile.mkdtemp(prefix="microbatch-", dir=_short_base()))


def join(request: Request) -> Lease:
    """Attach to the directory's server, which is started where there is none.

    Args:
        request: The directory and what to start there.

    Returns:
        The lease that keeps the server running.

    Raises:
        DirectoryGone: A private directory is no more.
        EmbeddedServerError: The directory cannot be used or the server cannot be started.
    """
    try:
        if not request.private:
            request.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        return _join(request)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        if request.private and isinstance(error, FileNotFoundError) and not request.directory.exists():
            raise DirectoryGone from error
        reason = getattr(error, "strerror", None) or error
        raise EmbeddedServerError(
            f"cannot keep a server's data in {request.directory}: {reason}; name a local directory that "
            "this user may write"
        ) from error


def _join(request: Request) -> Lease:
    directory = request.directory
    with FileLock(directory / guardian.START_LOCK) as starting:
        if not starting.exclusive(_START_LOCK_TIMEOUT_S):
            raise EmbeddedServerError(
                f"another process has been starting the server of {directory} for "
                f"{_START_LOCK_TIMEOUT_S:g} s: end it and try again"
            )
        users = FileLock(directory / guardian.USERS_LOCK)
        try:
            running = _running(request, users)
        except BaseException:
            users.close()  # also on Ctrl-C: a lock without an owner would keep the server for ever
            raise
    return Lease(directory, users, running, private=request.private)


def _running(request: Request, users: FileLock) -> Running:
    directory = request.directory
    # A guardian that is stopping its server holds this lock; afterwards no server is left here.
    if not users.shared(guardian.TAKEOVER_TIMEOUT_S):
        raise EmbeddedServerError(
            f"the server of {directory} is stopping and has not ended in "
            f"{guardian.TAKEOVER_TIMEOUT_S:g} s: try again"
        )
    running = _find(directory) or _start(request)
    if request.port is not None and running.port != request.port:
        raise EmbeddedServerError(
            f"the server of {directory} already runs without port {request.port}: stop its other users "
            "first, or attach without a port"
        )
    return running


def _find(directory: Path) -> Running | None:
    running = Running.read(directory)
    if running is None or not guardian.answers(running.socket):
        return None
    try:
        os.kill(running.guardian_pid, 0)
    except ProcessLookupError:
        # An orphan (its guardian was killed where the kernel cannot kill the server with it) would never
        # stop. The next guardian waits for its end.
        guardian.ask(running.socket, "SHUTDOWN NOSAVE")
        return None
    except PermissionError:
        pass  # it lives, as another user's process
    return running


def _start(request: Request) -> Running:
    program = find_program() if request.program is None else check_program(request.program)
    order: Order = {
        "directory": str(request.directory),
        "private": request.private,
        "program": str(program),
        "port": request.port,
        "extra_args": list(request.extra_args),
        "socket_dir": str(_socket_dir(request)),
    }
    python = sys.executable or "python3"
    source = str(Path(guardian.__file__).absolute())
    with (
        _open_log(request.directory) as log,
        subprocess.Popen(  # noqa: S603 - our own file
            [python, "-I", "-S", source, json.dumps(order)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            cwd="/",  # a guardian must not keep a file system from being unmounted
            start_new_session=True,  # the terminal's Ctrl-C is for the users alone
        ) as process,
    ):
        report = _read_report(process)
    running = Running.parse(report)
    if running is None:
        raise EmbeddedServerError(f"cannot start {program} in {request.directory}: {_reason(report)}")
    return running


def _read_report(process: subprocess.Popen[bytes]) -> bytes:
    assert process.stdout is not None  # noqa: S101 - tells mypy what PIPE means
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        if not selector.select(_REPORT_TIMEOUT_S):
            return b""
    return os.read(process.stdout.fileno(), 1 << 16)


def _reason(report: bytes) -> str:
    with contextlib.suppress(ValueError, KeyError, TypeError):
        return str(json.loads(report)["error"])
    return f"its guardian gave no answer, see {guardian.LOG} there"


def _open_log(directory: Path) -> IO[bytes]:
    path = directory / guardian.LOG
    if path.exists() and path.stat().st_size > _LOG_LIMIT_BYTES:
        path.rename(path.with_suffix(".log.1"))  # one generation: a log is never more than a few MiB
    return path.open("ab")


def _socket_dir(request: Request) -> Path:
    if request.private:
        return request.directory  # is short already
    # The same for each server of a directory, so that clients find the one that follows a crash.
    found = request.directory.stat()
    return Path(_short_base()) / f"microbatch-{os.geteuid():x}-{found.st_dev:x}-{found.st_ino:x}"


def _short_base() -> str:
    base = tempfile.gettempdir()
    return base if len(os.fsencode(base)) <= _BASE_LIMIT_BYTES else "/tmp"  # noqa: S108 - we use mkdtemp in it
