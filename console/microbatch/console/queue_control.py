"""One queue under control: pause, drain, resume, purge, and what it is limited to.

Rule: each act is one script call, safe to repeat; whatever takes many calls tells after each how far it is.
It waits for nothing but Redis: who wants to see a queue run dry asks for its status.
"""

from __future__ import annotations

import getpass
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from microbatch.common import scripts
from microbatch.common.identifiers import check_queue
from microbatch.common.keys import QueueKeys
from microbatch.common.limits import check_limit
from microbatch.common.register import make_known

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from microbatch.common.connection import Connection
    from microbatch.common.scripts import HoldAction, QueueGate

__all__ = ["QueueControl", "QueueLimits", "whoami"]

_NAME_LIMIT = 100
_DECLARED = ("max_batch_size", "max_wait_ms")


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """What holds for a queue.

    Attributes:
        limits: What an operator allows, by name, as text; see `microbatch.common.limits`.
        declared: `max_batch_size` and `max_wait_ms` as the last started worker declared them.
    """

    limits: dict[str, str]
    declared: dict[str, str]


class QueueControl:
    """Controls one queue.

    Args:
        connection: Where it is.
        queue: Its name.
        who: How this operator is shown to others.

    Raises:
        ValueError: Not a valid queue name.
    """

    def __init__(self, connection: Connection, queue: str, *, who: str) -> None:
        self._connection = connection
        self._keys = QueueKeys(check_queue(queue))
        self._who = " ".join(who.split())[:_NAME_LIMIT] or "-"

    async def pause(self) -> QueueGate:
        """Let nothing leave: jobs are accepted and wait, batches that run are finished."""
        return await self._hold("pause")

    async def drain(self) -> QueueGate:
        """Take nothing new: submits raise `QueueDraining`; what is there is processed. Ends a pause."""
        return await self._hold("drain")

    async def resume(self) -> QueueGate:
        """Take jobs and let them leave as always."""
        return await self._hold("resume")

    async def purge(self) -> AsyncIterator[int]:
        """Cancel every job that waits or is scheduled now; yields how many after each step.

        Each of them ends as `cancelled`, and whoever waits for it is told. Running ones go on.
        """
        step = None
        while step is None or step.more:
            step = await self._connection.run(scripts.purge(self._keys, step))
            yield step.cancelled

    async def limits(self) -> QueueLimits:
        """What holds for the queue."""
        limits = await self._hash(self._keys.limits)
        settings = await self._hash(self._keys.settings)
        declared = {name: settings[name] for name in _DECLARED if name in settings}
        return QueueLimits(dict(sorted(limits.items())), declared)

    async def limit(self, values: Mapping[str, str | float | None]) -> QueueLimits:
        """Change limits; workers and producers heed them within a second.

        Args:
            values: By name; None takes a limit away.

        Raises:
            ValueError: No such limit, or not a value for it.
        """
        checked = {
            name: check_limit(name, "" if value is None else str(value)) for name, value in values.items()
        }
        if checked:
            await self._enter()
            await self._connection.run(scripts.limit(self._keys, checked))
        return await self.limits()

    async def _hold(self, action: HoldAction) -> QueueGate:
        await self._enter()
        return await self._connection.run(scripts.hold(self._keys, action, self._who))

    async def _enter(self) -> None:
        """A queue that is controlled before its first job is known from here on."""
        await make_known(self._connection, self._keys.queue)

    async def _hash(self, key: str) -> dict[str, str]:
        flat = await self._connection.execute("HGETALL", key)
        pairs = flat.items() if isinstance(flat, dict) else zip(flat[::2], flat[1::2], strict=True)
        return {name.decode("utf-8", "replace"): value.decode("utf-8", "replace") for name, value in pairs}


def whoami() -> str:
    """`user@host`, as far as the system knows them."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # no such user: a container that runs under any number
        user = "?"
    return f"{user}@{socket.gethostname()}"
