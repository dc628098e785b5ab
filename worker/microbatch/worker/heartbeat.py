"""The heartbeat: a thread of its own that says that this worker lives, and looks after the others.

Rule: it has its own connection and needs neither the loop nor the processor, so that a long or blocking
batch never looks dead; but it falls silent when the loop has been stuck for too long, and then only asks for
orders. Whoever is alive takes over whoever is not: there is no leader.

It moves no job: the rescuer does.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import time
from functools import partial
from typing import TYPE_CHECKING

from microbatch.common.connection.patience import is_out_of_reach
from microbatch.common.errors import MicrobatchError
from microbatch.common.scripts import acknowledge, heartbeat, orders
from microbatch.worker.observer import NO_OBSERVER, Observer
from microbatch.worker.rescuer import Rescuer
from microbatch.worker.vitality import Vitality, beat_interval_s, pause_s

if TYPE_CHECKING:
    from collections.abc import Sequence

    from microbatch.common.connection import BlockingConnection
    from microbatch.common.orders import Order
    from microbatch.common.settings import WorkerSettings
    from microbatch.worker.foreman import Foreman
    from microbatch.worker.queue_agent import QueueAgent

__all__ = ["Heartbeat"]

log = logging.getLogger("microbatch.worker")
EARLY_S = (0.01, 0.06)
THOROUGH_EVERY = 5  # rounds
LEAST_INTERVAL_S = 0.05
LATE_INTERVALS = 1.5


class Heartbeat:
    """Beats for every queue of a worker.

    Args:
        connection: Its own; closed when it stops.
        worker_id: Who beats.
        settings: Limits.
        agents: The queues; read from the thread, never changed.
        observer: Who is told.
        foreman: Who carries out orders; None: nobody does.
    """

    def __init__(
        self,
        connection: BlockingConnection,
        worker_id: str,
        settings: WorkerSettings,
        agents: Sequence[QueueAgent],
        observer: Observer = NO_OBSERVER,
        foreman: Foreman | None = None,
    ) -> None:
        self._foreman = foreman
        self._observer = observer
        self.reached_s: float | None = None  # when every queue was reached last; None while one is not
        self._connection = connection
        self._worker_id = worker_id
        self._settings = settings
        self._agents = agents
        self._interval_s = beat_interval_s(settings.heartbeat_limit_s, len(agents))
        self._next_dead_s: float | None = None
        self._rounds = 0
        self._doubtful: set[str] = set()
        self._limit_ms = round(settings.heartbeat_limit_s * 1000)
        self._rescuer = Rescuer(connection, worker_id, settings, observer)
        self._vitality = Vitality(settings.loop_stall_limit_s, settings.heartbeat_limit_s, time.monotonic())
        self._stop = threading.Event()
        self._nudged = threading.Event()
        self._thread = threading.Thread(target=self._run, name="microbatch-heartbeat", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._was_stalled = False

    def start(self) -> None:
        """Begin to beat; called on the loop."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    def hasten(self) -> None:
        """Beat now; from any thread."""
        self._nudged.set()

    async def stop(self) -> None:
        """Stop beating and close the connection."""
        self._end()
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join, self._settings.command_timeout_s * 2)
        self._connection.close()

    def hand_back_all(self) -> int:
        """Hand every batch back over this connection and be forgotten: from any thread, without the loop.

        Raises:
            MicrobatchError: Redis does not answer; other workers take the batches over in time.
        """
        self._end()
        return self._rescuer.hand_back_all(list(self._agents))

    def is_blocked(self) -> bool:
        """Whether a batch that is past its time-out holds the event loop; from any thread."""
        return self._vitality.is_blocked(time.monotonic(), self._due_s(blocking=True))

    def _due_s(self, *, blocking: bool = False) -> list[float]:
        agents = [agent for agent in list(self._agents) if agent.runner.blocks_loop or not blocking]
        return [due_s for agent in agents for due_s in agent.runner.due_s()]

    def _end(self) -> None:
        self._stop.set()
        self._nudged.set()

    def _sleeps(self, pause_s: float) -> bool:
        """Sleep until the next beat is due, or wanted; False: there will be none."""
        if self._nudged.wait(pause_s):
            self._stop.wait(min(pause_s, LEAST_INTERVAL_S))  # however often somebody wants one
        self._nudged.clear()
        return not self._stop.is_set()

    def _run(self) -> None:
        pause, began_s = 0.0, -self._interval_s
        while self._sleeps(pause):
            now_s = time.monotonic()
            is_early, began_s = now_s - began_s < self._interval_s, now_s
            pause, self._next_dead_s, self._rounds = self._interval_s, None, self._rounds + 1
            self._post(self._tick)
            if self._vitality.is_stalled(now_s, self._due_s()):
                if not self._was_stalled:
                    self._observer.loop_stalled()
                    log.error(
                        "the event loop is stuck: the heartbeat falls silent, others will take the jobs"
                    )
                self._was_stalled = True
                self._take_orders()
                continue
            self._was_stalled = False
            self._vitality.beat_begins(now_s)
            # Not on to the next queue where one is out of reach.
            if all(self._reaches(agent) for agent in list(self._agents)):
                self.reached_s = time.monotonic()
                if not is_early:  # two beats that follow closely say no more than one
                    self._vitality.beat_succeeded()
                pause = pause_s(self._interval_s, self._next_dead_s, random.uniform(*EARLY_S))  # noqa: S311 - jitter
            else:
                self.reached_s = None
                self._vitality.beat_failed()

    def _reaches(self, agent: QueueAgent) -> bool:
        """Beat for one queue. Whatever is wrong with it must not stop the thread, or silence the others."""
        try:
            self._beat(agent)
            self._doubtful.discard(agent.settings.queue)
        except MicrobatchError as error:
            log.warning("queue %s: no heartbeat: %s", agent.settings.queue, error)
            self._observer.redis_failed(agent.settings.queue, "heartbeat")
            self._doubtful.add(agent.settings.queue)
            return not is_out_of_reach(error)
        except Exception:
            log.exception("queue %s: the heartbeat broke", agent.settings.queue)
        return True

    def _beat(self, agent: QueueAgent) -> None:
        look = self._connection.run(
            heartbeat(
                agent.keys,
                self._worker_id,
                agent.ledger.batch_ids(),
                heartbeat_limit_ms=self._limit_ms,
                stale_claim_ms=round(self._settings.command_timeout_s * 2000),
                idle=agent.claimer.is_idle and not self._is_loop_late(),
                thorough=self._rounds % THOROUGH_EVERY == 0 or agent.settings.queue in self._doubtful,
                about="" if self._foreman is None else self._foreman.about(agent),
            )
        )
        if look.next_dead_s is not None:
            known_s = self._next_dead_s
            self._next_dead_s = look.next_dead_s if known_s is None else min(known_s, look.next_dead_s)
        for name in look.aside:
            log.error(
                "queue %s: %s%s held something that is not ours; it is now at %s",
                agent.settings.queue,
                agent.keys.prefix,
                name,
                agent.keys.aside(name),
            )
        agent.claimer.form.heed(look.limits)
        self._obey(agent, look.orders)
        if look.work_waits and agent.claimer.is_idle:
            self._post(agent.bell.ring)
        if look.schedules_wait:
            self._post(agent.ticker.look)
        self._see_to(agent, look.orphans)
        if self._vitality.may_judge:
            for dead in look.dead:
                try:
                    if self._rescuer.take_over(agent, dead):
                        self._post(agent.bell.ring)
                except MicrobatchError as error:
                    if is_out_of_reach(error):
                        raise
                    log.error("queue %s: cannot take over from %s: %s", agent.settings.queue, dead, error)

    def _is_loop_late(self) -> bool:
        """Whether the loop has not answered the last beat's tick: what it is given now may wait for long."""
        return self._vitality.silent_s(time.monotonic()) > LATE_INTERVALS * self._interval_s

    def _see_to(self, agent: QueueAgent, orphans: Sequence[str]) -> None:
        offered = set(agent.ledger.offer.ids)  # read before we ask what runs: an id is in one of the two
        for batch_id in offered.intersection(orphans):  # the message may be there by now: the loop knows
            self._post(partial(agent.ledger.miss, batch_id))
        left = [each for each in orphans if each not in offered and not agent.ledger.holds(each)]
        self._rescuer.hand_back_orphans(agent, left)

    def _obey(self, agent: QueueAgent, given: Sequence[Order]) -> None:
        if self._foreman is None:
            return
        for each in given:
            silent_s = self._vitality.silent_s(time.monotonic())
            answer = self._foreman.answer(agent, each, loop_silent_s=silent_s)
            self._connection.run(acknowledge(agent.keys, self._worker_id, each.id, answer))
            self._foreman.answered(agent, each)
        if given:
            self.hasten()  # who looks at us next is to see what has changed

    def _take_orders(self) -> None:
        """Ask for orders without a beat: whoever wonders why the loop is stuck is answered."""
        for agent in list(self._agents):
            try:
                given = self._connection.run(orders(agent.keys, self._worker_id))
                self._obey(agent, given)
            except MicrobatchError as error:
                log.warning("queue %s: no look for orders: %s", agent.settings.queue, error)

    def _tick(self) -> None:
        self._vitality.ticked(time.monotonic())

    def _post(self, callback: object) -> None:
        assert self._loop is not None  # noqa: S101 - start() sets it before the thread runs
        try:
            self._loop.call_soon_threadsafe(callback)  # type: ignore[arg-type]
        except RuntimeError:
            self._end()  # the loop is closed: nobody is left to beat for
