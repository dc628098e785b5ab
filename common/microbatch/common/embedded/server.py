"""The embedded server as its user sees it: start, read the URL, stop.

Rule: one `EmbeddedServer` is one user. As many as like, in one process or in many, share a data
directory; the server stops with the last of them, also when that one is killed.

It never waits without a bound, and a forked child never touches what its parent started.
"""

from __future__ import annotations

import atexit
import os
import shutil
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Self
from urllib.parse import quote

from microbatch.common.embedded.launch import DirectoryGone, Request, join, new_private_directory
from microbatch.common.errors import EmbeddedServerError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from microbatch.common.embedded.lease import Lease
    from microbatch.common.embedded.records import Running

_MAX_PORT = 65_535


class EmbeddedServer:
    """A Valkey or Redis server that lives as long as its users, for development and tests.

    Usable as a context manager. All methods block; in a coroutine, call them in a thread. A server that
    was not stopped is stopped when the interpreter exits.

    Args:
        data_dir: Where the data are kept; created where it does not exist. Users of one directory share
            one server, and its data survive it. None: a private server, without any data on disk.
        port: Also listen on this TCP port of 127.0.0.1. None: only on a Unix socket.
        program: The server program; None finds one (see `binary.py`).
        extra_args: More arguments for the program, such as `["--maxmemory", "100mb"]`. They win over ours.
            Like `program`, they have no effect where the directory's server already runs.

    Raises:
        EmbeddedServerError: The port is no port.
    """

    _live: set[EmbeddedServer] = set()  # noqa: RUF012 - the class's own register, for exit and fork

    def __init__(
        self,
        data_dir: Path | None = None,
        *,
        port: int | None = None,
        program: Path | None = None,
        extra_args: Sequence[str] = (),
    ) -> None:
        if port is not None and not 0 < port <= _MAX_PORT:
            raise EmbeddedServerError(f"port is {port}, and may be 1 to {_MAX_PORT}")
        self._private = data_dir is None
        self._directory = None if data_dir is None else Path(data_dir).absolute()
        self._port = port
        self._program = program
        self._extra_args = tuple(extra_args)
        self._mutex = threading.RLock()
        self._lease: Lease | None = None

    @property
    def url(self) -> str:
        """The URL of the Unix socket, for any Redis client."""
        return f"unix://{quote(self._running.socket)}?db=0"

    @property
    def tcp_url(self) -> str | None:
        """The URL of the TCP port; None where the server has none."""
        port = self._running.port
        return None if port is None else f"redis://127.0.0.1:{port}/0"

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self._running.pid

    @property
    def program(self) -> Path:
        """The program that runs."""
        return Path(self._running.program)

    @property
    def data_dir(self) -> Path:
        """The data directory; a private server's is temporary."""
        if self._directory is None:
            raise _not_started()
        return self._directory

    def start(self) -> Self:
        """Start the server or attach to it. Harmless when repeated.

        A server that crashed is started anew, with the same URL.

        Returns:
            This object.

        Raises:
            EmbeddedServerError: No program, no usable directory, or the server did not come up.
        """
        self._live.add(self)  # before the mutex is taken: a fork meanwhile has to find it
        with self._mutex:
            lease = self._lease
            if lease is not None and lease.is_alive():
                return self
            try:
                self._lease = self._join()
            except BaseException:
                if lease is None:
                    self._live.discard(self)
                raise
            if lease is not None:
                lease.end()  # last: without a user the directory, and with it the URL, would go
        return self

    def stop(self) -> None:
        """Let go of the server, and wait until it is gone if this was its last user.

        Harmless when repeated. The wait has a bound of 5 s, whose passing is logged and not raised.
        """
        with self._mutex:
            self._end_lease()
        self._live.discard(self)

    def twin(self) -> EmbeddedServer:
        """Make another user of the same server, to be started and stopped by itself.

        Where a private server is gone by then, the twin starts a fresh one.
        """
        twin = EmbeddedServer(port=self._port, program=self._program, extra_args=self._extra_args)
        twin._private, twin._directory = self._private, self._directory
        return twin

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        lease = self._lease
        state = "not started" if lease is None else f"pid {lease.running.pid}, {lease.running.socket}"
        return f"<EmbeddedServer {'private' if self._private else self._directory}: {state}>"

    @property
    def _running(self) -> Running:
        lease = self._lease
        if lease is None:
            raise _not_started()
        return lease.running

    def _end_lease(self) -> None:
        lease, self._lease = self._lease, None
        if lease is not None:
            lease.end()

    def _join(self) -> Lease:
        if self._directory is not None:
            try:
                return join(self._request(self._directory))
            except DirectoryGone:
                pass
        self._directory = fresh = new_private_directory()
        try:
            return join(self._request(fresh))
        except BaseException:
            shutil.rmtree(fresh, ignore_errors=True)
            raise

    def _request(self, directory: Path) -> Request:
        return Request(
            directory=directory,
            private=self._private,
            port=self._port,
            program=self._program,
            extra_args=self._extra_args,
        )

    @classmethod
    def at_exit(cls) -> None:
        """Stop what was started: a container's end would kill the guardian before it can clean up."""
        for server in list(cls._live):
            server.stop()

    @classmethod
    def after_fork(cls) -> None:
        """In the child: forget the parent's servers, whose locks `locks.py` has already closed."""
        for server in list(cls._live):
            server.forget()
        cls._live.clear()

    def forget(self) -> None:
        """Be as if never started, and stop nothing: this process is a fork of the one that started it."""
        self._mutex = threading.RLock()  # another thread of the parent may have held it
        self._lease = None
        if self._private:
            self._directory = None


def _not_started() -> EmbeddedServerError:
    return EmbeddedServerError(
        "this embedded server is not started: call start(), or use it in a `with` block"
    )


atexit.register(EmbeddedServer.at_exit)
os.register_at_fork(after_in_child=EmbeddedServer.after_fork)
