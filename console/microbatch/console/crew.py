"""The crew: the workers of one queue or of all, and what they are ordered to do.

Rule: an order goes to each worker through one of its queues (through each of them where it concerns queues),
and has one id, so that it is carried out once. Whoever does not answer in time is said not to have: after
that it will not carry the order out either, because orders have an end.

Answers are read, not pushed: whoever orders waits a moment anyway, and needs no connection of its own for it.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from microbatch.common import scripts
from microbatch.common.errors import MicrobatchError
from microbatch.common.identifiers import new_local_id
from microbatch.common.keys import QueueKeys
from microbatch.common.orders import ORDERS, Answer, Order, check_order
from microbatch.common.register import known_queues
from microbatch.common.scripts import OrderCode
from microbatch.common.worker_facts import HEARTBEAT_LIMIT_S
from microbatch.console.survey import WorkerRow, just_settled, worker_rows
from microbatch.producer.recent import recent_batches

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from microbatch.common.connection import Connection

__all__ = ["Crew", "CrewReply", "WorkerNotFound"]

PER_CALL: Final = 256
LAST_BATCHES: Final = 100
FIRST_LOOK_S, LAST_LOOK_S = 0.02, 0.2


class WorkerNotFound(MicrobatchError):
    """No worker is meant: none has this id, or these labels."""


@dataclass(frozen=True, slots=True)
class CrewReply:
    """What came of an order at one worker, at one queue where the order concerns queues.

    Attributes:
        worker: Its id.
        queue: Through which queue it was ordered.
        status: `done`; `refused` (`error` says why); `failed`: a bug of ours; `unanswered`: nothing came in
            time; `gone`: it has left meanwhile.
        value: What it told.
        error: Why not.
    """

    worker: str
    queue: str
    status: str
    value: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""


class Crew:
    """Lists and orders workers.

    Args:
        connection: Where they are known.
        queues: Whose workers; None: those of all queues.
        who: How this operator is shown to others.
    """

    def __init__(self, connection: Connection, queues: Sequence[str] | None, *, who: str) -> None:
        self._connection = connection
        self._queues = queues
        self._who = who

    async def workers(
        self,
        *,
        ids: Iterable[str] = (),
        labels: Iterable[str] = (),
        heartbeat_limit_s: float = HEARTBEAT_LIMIT_S,
        with_lost: bool = False,
    ) -> list[WorkerRow]:
        """Who is there, by id.

        Args:
            ids: These and no others; none: all.
            labels: Those that have each of these labels.
            heartbeat_limit_s: After which silence a worker counts as `silent`.
            with_lost: Also those whose jobs were taken over in the last ten minutes, and of which nothing has
                been heard since; those that `ids` names are told in any case.

        Raises:
            WorkerNotFound: One of `ids` is not there, or nobody has these labels.
        """
        queues = await known_queues(self._connection) if self._queues is None else self._queues
        fleets, busy = [], set[str]()
        for keys in map(QueueKeys, queues):
            fleet = await self._connection.run(scripts.fleet(keys))
            fleets.append((keys.queue, fleet))
            busy |= just_settled(await recent_batches(self._connection, keys, LAST_BATCHES), fleet.now_ms)
        rows = worker_rows(fleets, heartbeat_limit_s, busy=busy)
        wanted, marks = list(ids), set(labels)
        here = {row.worker for row in rows}
        for worker in wanted:
            if worker not in here:
                raise WorkerNotFound(f"no worker {worker!r}")
        rows = [row for row in rows if with_lost or row.state != "lost" or row.worker in wanted]
        chosen = [row for row in rows if (not wanted or row.worker in wanted) and marks <= set(row.labels)]
        if marks and not chosen:
            raise WorkerNotFound(f"no worker has the label {' and '.join(sorted(marks))}")
        return chosen

    async def order(
        self,
        name: str,
        values: Mapping[str, object] | None = None,
        *,
        workers: Sequence[WorkerRow],
        timeout_s: float = 5.0,
    ) -> list[CrewReply]:
        """Order workers to do something, and wait for their answers.

        Args:
            name: `quiet`, `resume`, `stop`, `resize`, `set`, `ping`, `stats`, `dump` or `log-level`; see
                `microbatch.common.orders`.
            values: What is said with it, such as `{"concurrency": 4}`.
            workers: Whom, as from `workers`.
            timeout_s: How long to wait for answers; whoever has not heard of the order by then never will.

        Returns:
            A reply for each worker, of `resize` and `set` one for each of its queues, in that order.

        Raises:
            ValueError: No such order, or not values for it.
        """
        said = {key: "" if value is None else str(value) for key, value in (values or {}).items()}
        order = Order(new_local_id(), name, check_order(name, said), self._who)
        by_queue = ORDERS[name].by_queue
        targets = [(row.worker, queue) for row in workers for queue in row.queues[: None if by_queue else 1]]
        queues = dict.fromkeys(queue for _, queue in targets)
        if name == "set":
            for queue in queues:
                await self._connection.run(scripts.limit(QueueKeys(queue), order.values))
        ends_s = time.monotonic() + timeout_s
        replies: dict[tuple[str, str], CrewReply] = {}
        for queue in queues:
            mine = [worker for worker, through in targets if through == queue]
            replies |= await self._give(order, queue, mine, timeout_s)
        await self._gather(order, [each for each in targets if each not in replies], replies, ends_s)
        late = f"no answer within {timeout_s:g} s"
        return [replies.get(each) or CrewReply(*each, "unanswered", error=late) for each in targets]

    async def _give(
        self, order: Order, queue: str, workers: Sequence[str], timeout_s: float
    ) -> dict[tuple[str, str], CrewReply]:
        """Give an order to workers of a queue; the replies for those that cannot have it."""
        refused = {}
        for start in range(0, len(workers), PER_CALL):
            some = workers[start : start + PER_CALL]
            ttl_ms = max(1, round(timeout_s * 1000))
            codes = await self._connection.run(
                scripts.order(QueueKeys(queue), order, ttl_ms=ttl_ms, workers=some)
            )
            for worker, code in zip(some, codes, strict=True):
                if code is OrderCode.UNKNOWN:
                    refused[worker, queue] = CrewReply(worker, queue, "gone", error="it has left")
                elif code is OrderCode.TOO_MANY:
                    why = "it has too many orders that it has not answered"
                    refused[worker, queue] = CrewReply(worker, queue, "unanswered", error=why)
        return refused

    async def _gather(
        self,
        order: Order,
        missing: Sequence[tuple[str, str]],
        replies: dict[tuple[str, str], CrewReply],
        ends_s: float,
    ) -> None:
        """Add the replies of the missing ones as they come, until the end."""
        pause_s = FIRST_LOOK_S
        while missing:
            for queue in dict.fromkeys(queue for _, queue in missing):
                answers = await self._answers(queue, order.id)
                for each in missing:
                    raw = answers.get(each[0].encode()) if each[1] == queue else None
                    if raw is not None:
                        answer = Answer.read(raw)
                        replies[each] = CrewReply(*each, answer.status, answer.value, answer.error)
            missing = [each for each in missing if each not in replies]
            left_s = ends_s - time.monotonic()
            if left_s <= 0:
                return
            if missing:
                await asyncio.sleep(min(pause_s, left_s))
                pause_s = min(pause_s * 1.5, LAST_LOOK_S)

    async def _answers(self, queue: str, order_id: str) -> dict[bytes, bytes]:
        flat = await self._connection.execute("HGETALL", QueueKeys(queue).acks(order_id))
        return dict(flat) if isinstance(flat, dict) else dict(zip(flat[::2], flat[1::2], strict=True))
