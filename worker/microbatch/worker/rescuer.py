"""The rescuer: moves jobs that nobody runs back to where somebody will: the heartbeat's hands.

Rule: it is called in the heartbeat's thread, or by whoever leaves in haste, and needs no loop. It never
touches a batch that the loop runs. An attempt is counted wherever a processor may have begun: a number that
is missing harms nobody, two runs with the same one would.
"""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING

from microbatch.common.errors import MicrobatchError
from microbatch.common.scripts import CrashTerms, release, step_aside, takeover
from microbatch.worker.observer import NO_OBSERVER, Observer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from microbatch.common.connection import BlockingConnection
    from microbatch.common.settings import WorkerSettings
    from microbatch.worker.queue_agent import QueueAgent

__all__ = ["Rescuer"]

log = logging.getLogger("microbatch.worker")
HASTE_S = 2.0


class Rescuer:
    """Hands back what one worker lost sight of, and takes over what others left behind.

    Args:
        connection: The heartbeat's.
        worker_id: Who does it.
        settings: Limits.
        observer: Who is told.
    """

    def __init__(
        self,
        connection: BlockingConnection,
        worker_id: str,
        settings: WorkerSettings,
        observer: Observer = NO_OBSERVER,
    ) -> None:
        self._connection = connection
        self._worker_id = worker_id
        self._settings = settings
        self._observer = observer
        self._limit_ms = round(settings.heartbeat_limit_s * 1000)

    def hand_back_orphans(self, agent: QueueAgent, batch_ids: Iterable[str]) -> None:
        """Hand batches back that Redis holds for this worker and that nothing here runs.

        They ran, unless the ledger says that their claim was never answered: their outcomes may have been
        undone by a failover, or lost with an error of ours.

        Raises:
            MicrobatchError: Redis does not answer; the next beat finds them again.
        """
        for batch_id in batch_ids:
            moved = self._hand_back(agent, batch_id, ran=not agent.ledger.is_unseen(batch_id))
            self._observer.handed_back(agent.settings.queue, moved)
            log.warning("queue %s: handed %d orphaned jobs back", agent.settings.queue, moved)

    def hand_back_all(self, agents: Iterable[QueueAgent]) -> int:
        """Hand every batch back and be forgotten, in haste; returns how many jobs went.

        Raises:
            MicrobatchError: Redis does not answer; other workers take the batches over in time.
        """
        timeout_s = min(HASTE_S, self._settings.command_timeout_s)
        moved = 0
        for agent in agents:
            agent.ground()
            for batch_id in agent.ledger.ids_to_release():
                ran = agent.has_begun(batch_id)
                moved += self._hand_back(agent, batch_id, ran=ran, timeout_s=timeout_s)
            with contextlib.suppress(MicrobatchError):  # the jobs are back: what is left is tidiness
                self._connection.run(
                    step_aside(agent.keys, self._worker_id, leaving=True), timeout_s=timeout_s
                )
        return moved

    def take_over(self, agent: QueueAgent, dead: str) -> bool:
        """Take the batches of a dead worker over; returns whether there was anything.

        Raises:
            MicrobatchError: Redis does not answer, or that worker's keys are damaged.
        """
        found = False
        while dead != self._worker_id:
            taken = self._connection.run(
                takeover(
                    agent.keys,
                    self._worker_id,
                    dead,
                    heartbeat_limit_ms=self._limit_ms,
                    terms=CrashTerms(
                        self._settings.max_crashes,
                        round(agent.settings.result_ttl_s * 1000),
                        self._settings.dead_max_length,
                    ),
                )
            )
            if taken.moved < 0:
                break
            if taken.moved or taken.failed:
                found = True
                self._observer.reclaimed(agent.settings.queue, taken.moved, taken.failed)
                log.warning(
                    "queue %s: took %d jobs over from dead worker %s, failed %d that kill their workers",
                    agent.settings.queue,
                    taken.moved,
                    dead,
                    taken.failed,
                )
            if not taken.left:
                break
        return found

    def _hand_back(
        self, agent: QueueAgent, batch_id: str, *, ran: bool, timeout_s: float | None = None
    ) -> int:
        moved, left = 0, 1
        while left:  # a call moves a bounded number
            released = self._connection.run(
                release(agent.keys, self._worker_id, batch_id, ran=ran), timeout_s=timeout_s
            )
            moved += released.moved
            left = released.left
        return moved
