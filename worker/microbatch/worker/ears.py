"""Ears: what a worker is told on its wake channels, one for each of its queues.

Rule: hearing does no work and waits for nothing. An order is fetched by the next heartbeat, which is
hastened; everything else is for the agent of the queue. A message can be lost, so nothing depends on it
alone: whenever they are open again, every agent looks for itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from microbatch.common.connection.subscription import Subscription
from microbatch.common.scripts import ORDER_MESSAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from microbatch.common.connection.subscription import Source
    from microbatch.worker.queue_agent import QueueAgent

__all__ = ["Ears"]


class Ears:
    """Hears for the agents of one worker.

    Args:
        source: Whose server to listen at.
        worker_id: Whose channels.
        agents: Whom it is said to.
        on_order: Called where the worker was given an order; must not block.
    """

    def __init__(
        self, source: Source, worker_id: str, agents: Iterable[QueueAgent], on_order: Callable[[], None]
    ) -> None:
        self._agents = {agent.keys.wake_channel(worker_id).encode(): agent for agent in agents}
        self._on_order = on_order
        self._subscription = Subscription(source, self._heard, self._opened)

    async def open(self, patience_s: Callable[[], float]) -> None:
        """Listen, and return once the server has confirmed it: what is said after that is heard.

        Raises:
            ConnectionFailed: No confirmation of a channel within `patience_s()`.
        """
        for channel in self._agents:
            await self._subscription.add(channel.decode(), timeout_s=patience_s())

    async def close(self) -> None:
        """Listen no more."""
        await self._subscription.close()

    def _heard(self, channel: bytes, message: bytes) -> None:
        if message == ORDER_MESSAGE:
            self._on_order()
        elif channel in self._agents:
            self._agents[channel].heard(message)

    def _opened(self) -> None:
        for agent in self._agents.values():  # a wake may have been lost while nobody listened
            agent.bell.ring()
