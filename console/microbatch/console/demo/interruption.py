"""Ctrl-C and its relatives while the demo runs: the first one ends it in order, later ones change nothing.

Rule: what was started is ended by the code that started it, so a signal is an exception, raised once. It
never installs a handler where the signal was being ignored (`nohup`, background jobs).
"""

from __future__ import annotations

import contextlib
import signal
import threading
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

__all__ = ["Interrupted", "Interruption"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_EXIT_CODE_BASE = 128


class Interrupted(BaseException):
    """A signal asked the demo to end; a BaseException, so that no handler of errors takes it for one.

    Attributes:
        exit_code: As shells have it: 130 after Ctrl-C.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = _EXIT_CODE_BASE + number


class Interruption:
    """Raises `Interrupted` in its `with` block when the first signal comes."""

    def __init__(self) -> None:
        self._previous: dict[signal.Signals, Any] = {}
        self._shielded = False
        self._held = False
        self._pending: int | None = None

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Let signals wait until the block is done: what it starts has to be known to who ends it."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
        if self._pending is not None:
            self._handle(self._pending, None)

    def shield(self) -> None:
        """From now on signals are passed over: what follows is short and has to be done."""
        self._shielded = True

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():  # signals are its matter alone
            for number in _SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self._held:
            self._pending = number
        elif not self._shielded:
            self._shielded = True
            raise Interrupted(number)
