"""One process of a chaos run, started again whenever it ends, as systemd's `Restart=always` would.

Rule: it notes every end with its cause, so that an end that nobody brought about can be told from the others.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["End", "Unit"]

ROOT = Path(__file__).parents[3]
LOOK_S = 0.02
RESTART_S = 0.1
GENERATION_VARIABLE = "CHAOS_GENERATION"


@dataclass(frozen=True, slots=True)
class End:
    """How one of a unit's processes ended; `causes` is empty where nobody brought it about."""

    unit: str
    pid: int
    at_s: float
    code: int
    causes: tuple[str, ...]


class Unit:
    """A process by name.

    Args:
        name: Such as `worker-1`.
        command: Arguments for this Python.
        environment: Its whole environment.
        folder: Where its log goes.
    """

    def __init__(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], folder: Path
    ) -> None:
        self.name = name
        self.ends: list[End] = []
        self.is_frozen = False
        self.generation = 0
        self._command = [sys.executable, *command]
        self._environment = environment
        self._log = folder / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._causes: list[str] = []
        self._stopping = False

    @property
    def pid(self) -> int | None:
        """Its process; None between two."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    async def keep(self) -> None:
        """Start it, and again, until `stop`."""
        while not self._stopping:
            self._start()
            while (process := self._process) is not None and process.poll() is None:  # noqa: ASYNC110 - Popen
                await asyncio.sleep(LOOK_S)
            assert process is not None
            self.is_frozen = False
            self.ends.append(
                End(self.name, process.pid, time.time(), process.returncode, tuple(self._causes))
            )
            await asyncio.sleep(RESTART_S)

    def _start(self) -> None:
        self._causes = []
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=ROOT,
                env={**self._environment, GENERATION_VARIABLE: str(self.generation)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.generation += 1

    def send(self, number: signal.Signals, cause: str = "") -> bool:
        """Signal it; False where it is down, or frozen and would not notice."""
        pid = self.pid
        if pid is None or (self.is_frozen and number not in {signal.SIGCONT, signal.SIGKILL}):
            return False
        if cause and cause not in self._causes:
            self._causes.append(cause)
        if number in {signal.SIGSTOP, signal.SIGCONT}:
            self.is_frozen = number == signal.SIGSTOP
        os.kill(pid, number)
        return True

    def stop(self) -> None:
        """Ask it to leave, and do not start it again."""
        self._stopping = True
        if self.is_frozen:
            self.send(signal.SIGCONT)
        self.send(signal.SIGTERM, "stop")

    def kill(self) -> None:
        """End it for good."""
        self._stopping = True
        self.send(signal.SIGKILL, "stop")
        if self._process is not None:
            self._process.wait()
