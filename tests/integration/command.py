"""The `microbatch` command as tests run it: as a process of its own, or in this one.

Rule: a process where the test is about one (signals, streams, what a worker loads, what outlives it); else
`ran_here`, which calls the same `main`, and `serving`, a worker in a thread: both cost no start of an
interpreter.
"""

from __future__ import annotations

import asyncio
import gc
import io
import logging
import os
import socket
import subprocess
import sys
import threading
import time
import warnings
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import pytest
import structlog

from microbatch.console.main import main
from microbatch.worker import Worker, WorkerSettings

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Iterator

__all__ = [
    "LIMIT_S",
    "MICROBATCH",
    "NOWHERE",
    "Command",
    "Done",
    "free_port",
    "ran",
    "ran_here",
    "serving",
    "until",
]

MICROBATCH = Path(sys.executable).with_name("microbatch")
LIMIT_S = 30.0
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


def until(seen: Callable[[], object], what: str = "what was awaited") -> None:
    """Wait until `seen` is true."""
    ends_s = time.monotonic() + LIMIT_S
    while not seen():
        assert time.monotonic() < ends_s, f"{what} did not come to pass"
        time.sleep(0.01)  # what other processes do is nobody's event


def ran(*words: object, redis_url: str, here: Path, text: str = "", **variables: str) -> Command:
    """A command that has left by itself; `end()` gives its code."""
    with Command(*words, redis_url=redis_url, here=here, **variables) as command:
        if text:
            command.write(text)
        command.close_stdin()
        command.end()
    return command


class Done(NamedTuple):
    """How a command ended, and the lines that it wrote."""

    code: int
    out: list[str]
    err: list[str]


def ran_here(*words: object, redis_url: str, here: Path, **variables: str) -> Done:
    """A command in this process, with a folder, an environment, modules, a log and streams of its own."""
    out, err = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        warnings.catch_warnings(),
        _own_log(),
        _own_modules(here),
        redirect_stdout(out),
        redirect_stderr(err),
        Path(os.devnull).open() as nothing,
    ):
        warnings.simplefilter("default")  # a warning is a line on stderr, as in a process
        for name in [name for name in os.environ if name.startswith("MICROBATCH_")]:
            patch.delenv(name)
        for name, value in {"MICROBATCH_REDIS_URL": redis_url, **variables}.items():
            patch.setenv(name, value)
        patch.chdir(here)
        patch.setattr(sys, "stdin", nothing)
        patch.setattr(gc, "freeze", lambda: None)  # this process goes on
        code = main([*map(str, words)])
    return Done(code, out.getvalue().splitlines(), err.getvalue().splitlines())


@contextmanager
def _own_log() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers.clear()  # a command would close them
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        structlog.reset_defaults()


@contextmanager
def _own_modules(here: Path) -> Iterator[None]:
    """What a command imports from its folder is forgotten: the next one has another module of that name."""
    path = sys.path[:]
    try:
        yield
    finally:
        sys.path[:] = path
        for name, module in list(sys.modules.items()):
            if Path(getattr(module, "__file__", None) or "/").is_relative_to(here):
                del sys.modules[name]


@contextmanager
def serving(redis_url: str, *processors: Any, **settings: Any) -> Iterator[Worker]:
    """A worker in a thread of this process, ready at once; it drains at the end of the block."""
    worker = Worker(processors, settings=WorkerSettings(redis_url=redis_url, **settings))
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="worker-of-a-test", daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(worker.start(), loop).result(LIMIT_S)
        yield worker
    finally:
        asyncio.run_coroutine_threadsafe(worker.stop(), loop).result(LIMIT_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(LIMIT_S)
        loop.close()
