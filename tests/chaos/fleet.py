"""Real worker processes, to be started, signalled and killed; none of them outlives its test."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tests.chaos.kit import wait_until
from tests.chaos.processors import QUEUE

if TYPE_CHECKING:
    from tests.chaos.kit import Desk

__all__ = ["HEARTBEAT_LIMIT_S", "Fleet", "Member"]

ROOT = Path(__file__).parents[2]
HEARTBEAT_LIMIT_S = 1.0
START_S = 60.0


class Member:
    """One worker process."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path, desk: Desk) -> None:
        self.process = process
        self._log = log
        self._desk = desk
        self.is_stopped = False

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def log(self) -> str:
        """What it has logged so far."""
        return self._log.read_text(errors="replace")

    def is_ready(self) -> bool:
        """Whether its queue knows it."""
        if self.process.poll() is not None:
            raise AssertionError(f"the worker ended with {self.process.returncode}:\n{self.log}")
        return any(f":{self.pid}:" in name for name in self._desk.workers())

    def ready(self) -> Self:
        wait_until(self.is_ready, START_S, "the start of a worker")
        return self

    def has_beaten(self, times: int) -> Self:
        """Wait for that many more heartbeats."""
        for _ in range(times):
            before = self._beats()
            wait_until(lambda before=before: self._beats() != before, START_S, "a heartbeat")  # type: ignore[misc]
        return self

    def _beats(self) -> list[tuple[bytes, float]]:
        beats: list[tuple[bytes, float]] = self._desk.redis.zrange(
            self._desk.keys.workers, 0, -1, withscores=True
        )  # type: ignore[assignment]
        return [beat for beat in beats if b":%d:" % self.pid in beat[0]]

    def send(self, number: signal.Signals) -> None:
        """Signal it, unless it has ended."""
        if self.process.poll() is None:
            self.process.send_signal(number)

    def stop(self) -> None:
        """Freeze it."""
        self.send(signal.SIGSTOP)
        self.is_stopped = True

    def thaw(self) -> None:
        self.send(signal.SIGCONT)
        self.is_stopped = False

    def kill(self) -> None:
        """Kill it, and wait until it is gone."""
        self.send(signal.SIGKILL)
        self.process.wait(10)

    def exit_code(self, timeout_s: float = 10.0) -> int:
        """Wait for its end."""
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the worker does not end:\n{self.log}") from None


class Fleet:
    """Worker processes of one queue, of one processor or several (with spaces between them).

    Settings are given as for `WorkerSettings`.
    """

    def __init__(self, desk: Desk, folder: Path, processor: str, **settings: object) -> None:
        assert desk.queue == QUEUE
        self.members: list[Member] = []
        self._desk = desk
        self._folder = folder
        self._processor = processor
        given = {"redis_url": desk.url, "heartbeat_limit_s": HEARTBEAT_LIMIT_S} | settings
        clean = {name: value for name, value in os.environ.items() if not name.startswith("MICROBATCH_")}
        self._environment = clean | {
            f"MICROBATCH_{name.upper()}": str(value) for name, value in given.items()
        }

    def start(self) -> Member:
        """Start one more worker process."""
        log = self._folder / f"worker-{len(self.members)}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.chaos.worker_main", *self._processor.split()],
                cwd=ROOT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        member = Member(process, log, self._desk)
        self.members.append(member)
        return member

    @property
    def living(self) -> list[Member]:
        """Those that have not ended, frozen ones included."""
        return [member for member in self.members if member.process.poll() is None]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for member in self.members:
            member.kill()
