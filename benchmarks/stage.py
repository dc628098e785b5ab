"""The stage of a cell: a fresh server, its worker processes, its producer process.

Rule: nothing is shared between two cells, and every contender reaches its server over TCP on the loopback
interface. Children are held on one leash (see `child`), so that nothing outlives the cell, however it ends.
It never measures and never judges: it hands on what the producer said, or why it said nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import socket
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import IO, TYPE_CHECKING, Self

from benchmarks.cell import Site
from benchmarks.measured import Measured
from microbatch.common.embedded import EmbeddedServer
from microbatch.common.errors import EmbeddedServerError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.cell import Cell

__all__ = ["play"]

ROOT = Path(__file__).parents[1]
READY_TIMEOUT_S = 20.0
CELL_TIMEOUT_S = 60.0
SHOWN_CHARS = 400


class _CellFailedError(Exception):
    """A child died, or took too long; the message says which and what it wrote."""


def play(cell: Cell, program: Path | None) -> Measured:
    """Run one cell.

    Args:
        cell: What to run.
        program: The server program; None: the embedded server's choice.
    """
    try:
        with ExitStack() as stack:
            server = stack.enter_context(EmbeddedServer(port=_free_port(), program=program))
            leash = stack.enter_context(_leash())
            assert server.tcp_url is not None  # noqa: S101 - it was given a port
            site = Site(server.tcp_url, cell)
            workers = [stack.enter_context(_Child("worker", site, leash)) for _ in range(cell.processes)]
            for worker in workers:
                worker.wait_until_ready()
            pids = tuple(worker.pid for worker in workers)
            producer = stack.enter_context(_Child("producer", Site(site.url, cell, pids), leash))
            said = json.loads(producer.said(CELL_TIMEOUT_S + 2 * cell.seconds))
            return Measured(said["figures"], said["runs_on"])
    except (_CellFailedError, EmbeddedServerError) as error:
        return Measured({}, failure=str(error))


class _Child:
    """One child process; leaving it waits for its end."""

    def __init__(self, role: str, site: Site, leash: _Leash) -> None:
        self._role = role
        self._leash = leash
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - __exit__ closes it
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith("MICROBATCH_")
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.child", role, site.to_json()],
            stdin=leash.read_end,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            cwd=ROOT,
            env=environment,
        )
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._leash.let_go()
        try:
            self._process.wait(timeout=2.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None  # noqa: S101 - a pipe
        self._process.stdout.close()
        self._errors.close()

    def wait_until_ready(self) -> None:
        """Return when it says its line.

        Raises:
            _CellFailedError: It did not.
        """
        self.said(READY_TIMEOUT_S)

    def said(self, timeout_s: float) -> str:
        """Its line; errors as in `wait_until_ready`."""
        assert self._process.stdout is not None  # noqa: S101 - a pipe
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            if not selector.select(timeout_s):
                raise _CellFailedError(
                    f"the {self._role} said nothing for {timeout_s:g} s{self._complaint()}"
                )
        line = self._process.stdout.readline().decode()
        if not line.endswith("\n"):
            raise _CellFailedError(f"the {self._role} died{self._complaint()}")
        return line

    def _complaint(self) -> str:
        self._errors.seek(0)
        text = self._errors.read().decode("utf-8", "replace").strip()
        return f": {text[-SHOWN_CHARS:]}" if text else ""


class _Leash:
    """A pipe whose reading end every child has as its standard input; nobody ever writes into it."""

    def __init__(self) -> None:
        self.read_end, self._write_end = os.pipe()
        self._held = True

    def let_go(self) -> None:
        """End every child. Harmless when repeated."""
        if self._held:
            self._held = False
            os.close(self._write_end)


@contextlib.contextmanager
def _leash() -> Iterator[_Leash]:
    leash = _Leash()
    try:
        yield leash
    finally:
        leash.let_go()
        os.close(leash.read_end)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
