"""The notifier: tells the service manager that this worker is ready, alive, leaving (systemd's protocol).

Rule: it talks only where `NOTIFY_SOCKET` names somebody, and never fails its caller: a service manager that
does not listen is its own problem, told once to the log. It decides nothing about being alive: it is told
what is wrong, and feeds the watchdog only while nothing is.
"""

from __future__ import annotations

import logging
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Notifier"]

log = logging.getLogger("microbatch.worker")


class Notifier:
    """Notes to a service manager.

    Args:
        address: Of its datagram socket, a leading `@` for an abstract one; empty: nobody is told anything.
        watchdog_s: How long the watchdog may go without food; None: there is none.
    """

    def __init__(self, address: str = "", watchdog_s: float | None = None) -> None:
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._feed_every_s = None if watchdog_s is None else watchdog_s / 3
        self._fed_s: float | None = None
        self._is_stopping = False
        self._is_wrong = False
        self._is_deaf = False

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], pid: int) -> Notifier:
        """As the service manager has said by the environment of the process `pid`."""
        address = environment.get("NOTIFY_SOCKET", "")
        usec = environment.get("WATCHDOG_USEC", "")
        is_ours = environment.get("WATCHDOG_PID", str(pid)) == str(pid)
        has_watchdog = is_ours and usec.isascii() and usec.isdigit() and int(usec) > 0
        return cls(address, int(usec) / 1e6 if has_watchdog else None)

    def ready(self, queues: Sequence[str]) -> None:
        """The worker takes work."""
        self._tell("READY=1", f"STATUS=working for {', '.join(queues)}")

    def stopping(self) -> None:
        """The worker drains; only the first time counts."""
        if not self._is_stopping:
            self._is_stopping = True
            self._tell("STOPPING=1", "STATUS=draining")

    def wants_food(self, now_s: float) -> bool:
        """Whether the watchdog is to be fed by now, if all is well."""
        return self._feed_every_s is not None and (
            self._fed_s is None or now_s - self._fed_s >= self._feed_every_s
        )

    def feed(self, now_s: float, wrong: Sequence[str]) -> None:
        """Feed the watchdog, unless something is wrong: then it will restart this worker."""
        if wrong:
            if not self._is_wrong:
                log.error("the watchdog is not fed: %s", "; ".join(wrong))
                self._tell(f"STATUS={'; '.join(wrong)}")
            self._is_wrong = True
            return
        self._is_wrong = False
        self._fed_s = now_s
        self._tell("WATCHDOG=1")

    def _tell(self, *notes: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
                line.setblocking(False)
                line.connect(self._address)
                line.send("\n".join(notes).encode())
        except OSError as error:
            if not self._is_deaf:
                log.warning("the service manager does not listen (NOTIFY_SOCKET): %s", error)
            self._is_deaf = True
