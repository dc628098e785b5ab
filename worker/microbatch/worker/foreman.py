"""The foreman: says who this worker is, and carries out what operators order it to do.

Rule: it works in the heartbeat's thread and needs neither the loop nor the processor, so that it answers
however busy they are: what has to happen on the loop is posted there, and happens when the loop comes round.
Each order is carried out once (once at each queue, where it concerns queues), however often it is handed
over, and none raises: a bug is an answer too.

It does no I/O but a short look at child processes. Orders come with a heartbeat, which also takes the answers
away.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections import OrderedDict
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from microbatch.common.orders import Answer, check_order
from microbatch.common.worker_facts import WorkerFacts
from microbatch.worker.child_sideline import DUMP, LEVELS, ask_all
from microbatch.worker.retirement import rss_bytes
from microbatch.worker.stacks import stacks, task_stacks

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from microbatch.common.orders import Order
    from microbatch.worker.child_sideline import Sideline
    from microbatch.worker.queue_agent import QueueAgent
    from microbatch.worker.retirement import Retirement
    from microbatch.worker.tally import Tally

__all__ = ["Foreman", "Refused"]

log = logging.getLogger("microbatch.worker")
MOST_REMEMBERED = 1_024
ANSWERED = Answer("done").encoded()
CHILDREN_S = 0.5
MOST_CHILDREN_SHOWN = 8
SILENT = "it does not answer"
LOOKS = ("ping", "stats", "dump")
"""Orders that change nothing: no line in the log for them."""


class Refused(Exception):
    """An order that makes no sense here; the sentence says why."""


class Foreman:
    """Carries out orders for one worker.

    Args:
        labels: By which operators address it.
        agents: Its queues; the list may grow and shrink.
        retirement: Whom to tell that it should leave.
        tally: What it has done.
        loop: Where its agents run.
    """

    def __init__(
        self,
        labels: tuple[str, ...],
        agents: Sequence[QueueAgent],
        retirement: Retirement,
        tally: Tally,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._labels = labels
        self._agents = agents
        self._retirement = retirement
        self._tally = tally
        self._loop = loop
        self._version = version("microbatch")
        self._began_s = time.monotonic()
        self._answers: OrderedDict[tuple[str, str], bytes] = OrderedDict()  # by queue and order
        self._deeds: dict[str, Callable[[QueueAgent, Order], dict[str, Any]]] = {
            "quiet": self._quiet,
            "resume": self._resume,
            "stop": self._stop,
            "resize": self._resize,
            "set": self._set,
            "stats": self._stats,
            "dump": self._dump,
            "log-level": self._log_level,
        }

    def about(self, agent: QueueAgent) -> str:
        """What this worker says about itself at a queue."""
        state = "stuck" if self._retirement.is_stuck else agent.claimer.state
        return WorkerFacts(self._version, state, agent.ledger.slots, self._labels).text()

    def answer(self, agent: QueueAgent, order: Order, *, loop_silent_s: float) -> bytes:
        """Carry an order out, unless that was done already; the same answer in both cases.

        Args:
            agent: The queue through which it came.
            order: What to do.
            loop_silent_s: How long the event loop has not turned.
        """
        key = (agent.settings.queue, order.id)
        known = self._answers.get(key)
        if known is not None:
            return known
        answer = self._carried_out(agent, order, loop_silent_s).encoded()
        self._answers[key] = answer
        if len(self._answers) > MOST_REMEMBERED:
            self._answers.popitem(last=False)
        return answer

    def answered(self, agent: QueueAgent, order: Order) -> None:
        """The answer has arrived: it need not be kept, only that there was one."""
        self._answers[agent.settings.queue, order.id] = ANSWERED

    def _carried_out(self, agent: QueueAgent, order: Order, loop_silent_s: float) -> Answer:
        try:
            check_order(order.name, order.values)
            if order.name == "ping":
                return Answer("done", {"version": self._version, "loop_silent_s": round(loop_silent_s, 3)})
            value = self._deeds[order.name](agent, order)
        except (Refused, ValueError) as error:
            log.warning("refused what %s ordered: %s", order.who, error)
            return Answer("refused", error=str(error))
        except Exception as error:
            log.exception("the order %s of %s broke", order.name, order.who)
            return Answer("failed", error=f"{type(error).__name__}: {error}")
        if order.name not in LOOKS:
            log.warning("%s ordered: %s", order.who, order.text().partition("\n")[0])
        return Answer("done", value)

    def _post(self, function: Callable[[], object]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to be told
            self._loop.call_soon_threadsafe(function)

    def _check_staying(self) -> None:
        if self._retirement.why:
            raise Refused(f"it is leaving: {self._retirement.why}")

    def _quiet(self, _agent: QueueAgent, _order: Order) -> dict[str, Any]:
        for agent in list(self._agents):
            agent.claimer.is_quiet = True
            self._post(agent.bell.ring)
        return {"running": sum(agent.ledger.running for agent in list(self._agents))}

    def _resume(self, _agent: QueueAgent, _order: Order) -> dict[str, Any]:
        self._check_staying()
        for agent in list(self._agents):
            agent.claimer.is_quiet = False
            self._post(agent.bell.ring)
        return {}

    def _stop(self, _agent: QueueAgent, order: Order) -> dict[str, Any]:
        if not self._retirement.is_heeded:
            raise Refused("it runs inside of a program that decides itself when to leave; quiet works")
        self._retirement.order(order.who, self._post)
        return {"running": sum(agent.ledger.running for agent in list(self._agents))}

    def _resize(self, agent: QueueAgent, order: Order) -> dict[str, Any]:
        self._check_staying()
        before, slots = agent.ledger.slots, int(order.values["concurrency"])
        agent.ledger.slots = slots
        self._post(lambda: agent.resize(slots))
        return {"queue": agent.settings.queue, "concurrency": slots, "before": before}

    def _set(self, agent: QueueAgent, _order: Order) -> dict[str, Any]:
        """The limits themselves came with the same heartbeat: here is said what holds now."""
        declared = agent.settings
        size, wait_ms = agent.claimer.form.limits.applied(
            declared.max_batch_size, declared.max_wait_ms, capping=declared.batching == "adaptive"
        )
        return {"queue": declared.queue, "max_batch_size": size, "max_wait_ms": wait_ms}

    def _stats(self, _agent: QueueAgent, _order: Order) -> dict[str, Any]:
        queues = {}
        for agent in list(self._agents):
            mine = self._tally.queues[agent.settings.queue]
            queues[agent.settings.queue] = {
                "running": agent.ledger.running,
                "concurrency": agent.ledger.slots,
                "batches": sum(dict(mine.batches).values()),
                **dict(mine.jobs),
                "retries": mine.retries,
                "handed_back": mine.handed_back,
                "reclaimed": mine.reclaimed,
                "redis_errors": sum(dict(mine.redis_errors).values()),
            }
        return {
            "pid": os.getpid(),
            "uptime_s": round(time.monotonic() - self._began_s, 1),
            "rss_bytes": rss_bytes(),
            "threads": threading.active_count(),
            "queues": queues,
        }

    def _dump(self, _agent: QueueAgent, _order: Order) -> dict[str, Any]:
        open_batches = {agent.settings.queue: agent.ledger.batch_ids() for agent in list(self._agents)}
        lines = self._sidelines()
        told = ask_all(lines, DUMP, timeout_s=CHILDREN_S)
        children = {str(line.pid): told.get(line.pid, SILENT) for line in lines[:MOST_CHILDREN_SHOWN]}
        return {
            "open_batches": open_batches,
            "stacks": stacks(),
            "tasks": task_stacks(self._loop),
            "children": children,
        }

    def _log_level(self, _agent: QueueAgent, order: Order) -> dict[str, Any]:
        name, level = order.values.get("logger", ""), order.values["level"]
        logger = logging.getLogger(name)
        before = logging.getLevelName(logger.getEffectiveLevel()).lower()
        logger.setLevel(level.upper())
        lines = self._sidelines()
        silent = len(lines) - len(ask_all(lines, LEVELS, {name: logger.level}, timeout_s=CHILDREN_S))
        told = {"logger": name or "root", "level": level, "before": before}
        return told | ({"silent_children": silent} if silent else {})

    def _sidelines(self) -> list[Sideline]:
        return [line for agent in list(self._agents) for line in agent.runner.sidelines()]
