"""The worker: it starts its agents, and ends them in the right order.

Rule: ready means that every processor is set up, every queue joined and the heartbeat beating; leaving means
quiet (no new claims), drain (finish and settle), release (hand the rest back), in this order and no other.
Work is done by the agents; this file only wires them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any, Self

from microbatch.common.clock import Clock, Deadline, SystemClock
from microbatch.common.connection import BlockingConnection, Connection, Endpoint
from microbatch.common.connection.patience import greet, patiently
from microbatch.common.embedded import open_url
from microbatch.common.errors import BatchTimeout
from microbatch.common.identifiers import new_worker_id
from microbatch.common.register import Register
from microbatch.common.settings import WorkerSettings
from microbatch.worker.agent_parts import AgentParts
from microbatch.worker.ears import Ears
from microbatch.worker.foreman import Foreman
from microbatch.worker.heartbeat import Heartbeat
from microbatch.worker.hooks import checked_hooks
from microbatch.worker.isolation import Isolation
from microbatch.worker.observation import Observation
from microbatch.worker.queue_agent import QueueAgent
from microbatch.worker.retirement import Retirement
from microbatch.worker.roster import posts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from microbatch.common.embedded import EmbeddedServer

__all__ = ["Worker"]

log = logging.getLogger("microbatch.worker")


class Worker:
    """Claims batches of one or more queues and runs their processors.

    Use it as `async with Worker([...])`, or blocking as `Worker([...]).run()`.

    Args:
        processors: Decorated functions, `BatchProcessor` classes or instances, one per queue or per kind of
            its jobs; and the `Schedule`s of these queues.
        settings: What the environment says, where None.
        options: What a command line says per queue; wins over everything else.
        hooks: Functions by name (`on_success`, `on_failure`, `on_batch`) that are called for every queue, as
            the methods of `BatchProcessor` of that name.
        clock: For tests.

    Raises:
        ProcessorError: A processor or a hook that cannot be used, two processors for the same jobs, or a
            schedule of another queue.
        SettingsError: A value that cannot be used.
    """

    def __init__(
        self,
        processors: Sequence[object],
        *,
        settings: WorkerSettings | None = None,
        options: Mapping[str, object] | None = None,
        hooks: Mapping[str, Callable[..., Any]] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.settings = WorkerSettings() if settings is None else settings
        self.id = new_worker_id()
        self.retirement = Retirement(self.settings, self.quiet)
        self.handed_back = 0
        self.drained = True
        self._clock = SystemClock() if clock is None else clock
        self._hooks = checked_hooks(hooks or {})
        self._posts = posts(processors, self.settings, options)
        self.observation = Observation(self.settings, [post.settings for post in self._posts], self.id)
        self._agents: list[QueueAgent] = []
        self._connection: Connection | None = None
        self._register: Register | None = None
        self._ears: Ears | None = None
        self._heartbeat: Heartbeat | None = None
        self._server: EmbeddedServer | None = None

    @property
    def queues(self) -> list[str]:
        """The queues that it works for."""
        return [post.settings.queue for post in self._posts]

    @property
    def heartbeat(self) -> Heartbeat | None:
        """The beating thread, while the worker runs."""
        return self._heartbeat

    def __repr__(self) -> str:
        flights = " ".join(
            f"{agent.settings.queue}={agent.ledger.running}/{agent.ledger.slots}" for agent in self._agents
        )
        return f"<Worker {self.id} {flights or ' '.join(self.queues)}>"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
        if self.retirement.is_stuck and error is None:
            raise BatchTimeout(self.retirement.why)

    async def start(self) -> None:
        """Connect, set processors up, join the queues, beat, claim.

        Raises:
            ConnectionFailed: Redis is not there within `connect_timeout_s`.
            AuthenticationFailed: It refuses us.
            ProcessorError: A processor's `setup` raised.
        """
        if self._connection is not None:
            raise RuntimeError("this worker has been started already; make another one")
        try:
            await self._start()
        except BaseException:
            await self._close()
            raise

    async def _start(self) -> None:
        self.observation.open()
        url, self._server = await open_url(self.settings.redis_url)
        endpoint = Endpoint(url, self.settings.command_timeout_s, f"microbatch:worker:{self.id}")
        connection = self._connection = Connection(endpoint)
        deadline = Deadline.after(self.settings.connect_timeout_s, self._clock)
        await patiently(deadline, lambda: greet(connection, deadline))
        register = self._register = Register(connection)
        parts = AgentParts(
            connection,
            self.id,
            self.settings,
            register,
            Isolation(),
            self.retirement,
            self._hooks,
            self.observation.observer,
        )
        for post in self._posts:
            agent = QueueAgent(parts, post)
            await agent.runner.setup()
            self._agents.append(agent)
        self._ears = Ears(connection, self.id, self._agents, self._ordered)
        await self._ears.open(lambda: max(self.settings.command_timeout_s, deadline.left_s() or 0.0))
        for agent in self._agents:
            await patiently(deadline, agent.join)
            # Before the first claim: what was missed while nobody lived is judged before it can be run.
            await patiently(deadline, agent.ticker.begin)
        blocking = BlockingConnection(
            Endpoint(url, self.settings.command_timeout_s, f"microbatch:beat:{self.id}")
        )
        foreman = Foreman(
            self.settings.labels,
            self._agents,
            self.retirement,
            self.observation.tally,
            asyncio.get_running_loop(),
        )
        observer = self.observation.observer
        self._heartbeat = Heartbeat(blocking, self.id, self.settings, self._agents, observer, foreman)
        self._heartbeat.start()
        for agent in self._agents:
            agent.start()
        self.observation.started(self._agents, self._heartbeat)
        log.info("worker %s is ready: %s", self.id, ", ".join(self.queues))

    def _ordered(self) -> None:
        if self._heartbeat is not None:  # else its first beat fetches the order
            self._heartbeat.hasten()

    def open_batches(self) -> dict[str, list[str]]:
        """The ids of the batches that it holds, by queue; safe to call from any thread."""
        return {agent.settings.queue: agent.ledger.batch_ids() for agent in list(self._agents)}

    def quiet(self) -> None:
        """Stop claiming; running batches go on. Undone by `resume`."""
        for agent in self._agents:
            agent.claimer.quiet()

    def resume(self) -> None:
        """Claim again, unless a batch hangs here that only a restart can end."""
        if self.retirement.is_stuck:
            return
        for agent in self._agents:
            agent.claimer.resume()

    async def wait_until_dry(self) -> None:
        """Return when nothing waits in any of the queues and nothing is in flight here."""
        for agent in self._agents:
            agent.claimer.stop_offering()
        while not all([await agent.is_dry() for agent in self._agents]):  # noqa: ASYNC110 - others fill it too
            await asyncio.sleep(0.1)

    async def stop(self, *, drain_timeout_s: float | None = None) -> int:
        """Leave: quiet, drain, and past the deadline release.

        Args:
            drain_timeout_s: How long running batches may take; None: the setting's.

        Returns:
            How many jobs were handed back because the deadline passed; 0 after a full drain.
        """
        limit_s = self.settings.drain_timeout_s if drain_timeout_s is None else drain_timeout_s
        drain = asyncio.ensure_future(self._drain())
        try:
            await asyncio.wait({drain}, timeout=limit_s)
        finally:  # also when we are cancelled: whoever is in a hurry gets the deadline now
            try:
                broke = drain.exception() if drain.done() and not drain.cancelled() else None
                if broke is not None:  # a bug of ours: what it left is handed back
                    log.error("worker %s: the drain broke", self.id, exc_info=broke)
                self.drained = drain.done() and broke is None
                if not self.drained:
                    await self._hand_back()
            finally:
                drain.cancel()
                await asyncio.gather(drain, return_exceptions=True)
                await self._close()
        return self.handed_back

    async def _hand_back(self) -> None:
        """Hand back what is in flight; bounded, because leaving must end although Redis is gone."""
        try:
            async with asyncio.timeout(self.settings.command_timeout_s):
                self.handed_back += sum(await asyncio.gather(*(agent.hand_back() for agent in self._agents)))
        except TimeoutError:
            log.error("worker %s: could not hand back; others take over after the heartbeat limit", self.id)
        else:
            log.warning("worker %s: drain deadline passed, handed %d jobs back", self.id, self.handed_back)

    async def _drain(self) -> None:
        await asyncio.gather(*(agent.stop_claiming() for agent in self._agents))
        await asyncio.gather(*(agent.drain() for agent in self._agents))

    async def _close(self) -> None:
        server, self._server = self._server, None
        async with contextlib.AsyncExitStack() as last_first:  # each is called, whatever the others raise
            last_first.push_async_callback(self.observation.close)
            if server is not None:
                last_first.push_async_callback(asyncio.to_thread, server.stop)
            if self._connection is not None:
                last_first.push_async_callback(self._connection.close)
            if self._register is not None:
                last_first.push_async_callback(self._register.close)
            if self._ears is not None:
                last_first.push_async_callback(self._ears.close)
            last_first.push_async_callback(self._leave)
            if self._heartbeat is not None:  # before we leave: its beat would announce us anew
                last_first.push_async_callback(self._heartbeat.stop)
            for agent in self._agents:
                last_first.push_async_callback(agent.stop_claiming)

    async def _leave(self) -> None:
        await asyncio.gather(*(agent.leave() for agent in self._agents))
        for agent in self._agents:
            await agent.teardown()
        self._agents.clear()

    def run(self, *, burst: bool = False) -> None:
        """Work until told to leave, blocking; installs signal handlers. What `microbatch worker` calls.

        Args:
            burst: Leave when the queues are empty.

        Raises:
            RuntimeError: Called inside a running event loop; use `async with worker` there.
            DrainTimeout: The drain deadline passed, or a second signal came; the rest was handed back.
        """
        from microbatch.worker.process import run_in_process  # noqa: PLC0415 - the wiring must not import its shell

        run_in_process(self, burst=burst)
