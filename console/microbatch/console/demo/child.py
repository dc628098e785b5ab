"""One process of the demo: started on its tether, listened to, ended.

Rule: what it writes to standard error goes to a log file and is shown only when it ends badly; what it says
and that it ended comes as an event, so that nobody polls. It is never left running: ending has a bound.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from queue import SimpleQueue

__all__ = ["Child", "DemoFailed", "Ended", "Event", "Said"]

_TAIL_LINES = 12
_SETTINGS_PREFIX = "MICROBATCH_"


class DemoFailed(Exception):
    """A process of the demo ended, or fell silent, and the demo with it."""


@dataclass(frozen=True, slots=True)
class Said:
    """A child printed a JSON object."""

    child: Child
    message: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Ended:
    """A child is gone."""

    child: Child
    exit_code: int


Event = Said | Ended


class Child:
    """A Python process.

    Args:
        name: What the user knows it as; also names its log.
        arguments: What follows `python`.
        directory: Where it runs and its log is.
        variables: Added to its environment.
        events: Where to put what it says, and its end.
    """

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        directory: Path,
        variables: dict[str, str],
        events: SimpleQueue[Event],
    ) -> None:
        self.name = name
        self._log = directory / f"{name.replace(' ', '-')}.log"
        # The user's own settings are for their queues: the demo is the same everywhere.
        environment = {
            key: value for key, value in os.environ.items() if not key.startswith(_SETTINGS_PREFIX)
        }
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own modules
                [sys.executable, *arguments],
                cwd=directory,
                env=environment | variables,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,  # the terminal's Ctrl-C is for the demo, which ends it in order
            )
        self._listener = threading.Thread(target=self._listen, args=(events,), daemon=True)
        self._listener.start()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def begin(self) -> None:
        """Give it the signal to begin."""
        assert self._process.stdin is not None  # noqa: S101 - tells mypy what PIPE means
        with contextlib.suppress(BrokenPipeError):  # it is gone: its end is an event of its own
            self._process.stdin.write(b"!")
            self._process.stdin.flush()

    def ask_to_leave(self) -> None:
        """Send SIGTERM: a worker drains."""
        self._process.terminate()

    def end(self, timeout_s: float) -> int:
        """Wait until it is gone. Harmless when repeated.

        Args:
            timeout_s: How long it may take; then it is killed.

        Returns:
            Its exit code.
        """
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
        exit_code = self._process.wait()
        self._listener.join()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        return exit_code

    def failure(self, what: str) -> DemoFailed:
        """An error that says what happened to it, with the end of its log."""
        lines = self._log.read_text(errors="replace").splitlines()[-_TAIL_LINES:]
        return DemoFailed("\n".join([f"{self.name} {what}", *(f"  {line}" for line in lines)]))

    def _listen(self, events: SimpleQueue[Event]) -> None:
        assert self._process.stdout is not None  # noqa: S101 - tells mypy what PIPE means
        for line in self._process.stdout:
            with contextlib.suppress(ValueError):  # a worker may print what it likes
                message = json.loads(line)
                if isinstance(message, dict):
                    events.put(Said(self, message))
        events.put(Ended(self, self._process.wait()))
