"""huey: a blocking queue with one job per message.

Rule: its worker has threads and is told of results by a list (`notify_result`), which is its fastest way.
It never batches, having no such thing.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Self

from huey import RedisHuey

from benchmarks.contenders.contract import TIMEOUT_S, Contender
from benchmarks.contenders.threads import ThreadProducer
from benchmarks.workload import Answer, Payload, process, process_at_a_cost

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.cell import Site

__all__ = ["CONTENDER"]

WORKER_THREADS = 4


def _task(site: Site) -> Any:
    logging.getLogger("huey").setLevel(logging.ERROR)
    run = process_at_a_cost if site.cell.costs else process
    queue = RedisHuey("bench", url=site.url, notify_result=True, results=True)

    def job(item: Payload) -> Answer:
        return run([item])[0]

    return queue.task(name="job")(job)


def work(site: Site, ready: Callable[[], None]) -> None:
    """Be the worker."""
    consumer = _task(site).huey.create_consumer(
        workers=WORKER_THREADS, worker_type="thread", periodic=False, check_worker_health=False
    )
    ready()
    consumer.run()


class HueyProducer(ThreadProducer):
    """A decorated task, called."""

    def __init__(self, site: Site) -> None:
        self._task = _task(site)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing: it connects when it needs to, and the process ends."""

    def run_all(self, payloads: Sequence[Payload]) -> Sequence[Answer]:
        """See `Producer`."""
        handles = list(self._task.map([(item,) for item in payloads]))
        return [handle.get(blocking=True, timeout=TIMEOUT_S) for handle in handles]

    def submit(self, item: Payload) -> object:
        """See `ThreadProducer`."""
        return self._task(item)

    def submit_bulk(self, payloads: Sequence[Payload]) -> None:
        """See `Producer`."""
        self._task.map([(item,) for item in payloads])

    def call(self, item: Payload) -> Any:
        """See `ThreadProducer`."""
        return self._task(item).get(blocking=True, timeout=TIMEOUT_S)

    def waiting(self) -> int:
        """See `Producer`."""
        return int(self._task.huey.pending_count())


CONTENDER = Contender(work, HueyProducer)
