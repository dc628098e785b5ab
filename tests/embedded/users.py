"""Users of embedded servers, as processes that do what a test tells them, and looks at what is left."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import redis

from microbatch.common.embedded import EmbeddedServer, guardian

if TYPE_CHECKING:
    from collections.abc import Callable

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


def eventually(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, f"not within {WAIT_S:g} s: {what}"
        time.sleep(0.01)


def runs(pid: int) -> bool:
    """Whether a process runs; one that ended and was not reaped yet (by a slow init) does not."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except ProcessLookupError:
        return False
    except FileNotFoundError:
        return sys.platform != "linux"


def gone(pid: int) -> Callable[[], bool]:
    return lambda: not runs(pid)


def call(url: str, *words: str) -> Any:
    with redis.Redis.from_url(url, decode_responses=True, protocol=2) as client:
        return client.execute_command(*words)


def guardian_pid(server: EmbeddedServer) -> int:
    record = json.loads((server.data_dir / guardian.RECORD).read_bytes())
    return int(record["guardian_pid"])


def processes_naming(text: str) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            command = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if text in command:
                found.append(command)
    return found
