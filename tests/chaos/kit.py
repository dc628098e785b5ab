"""What tests of workers share: entries and batches made by hand, a desk at a queue, waiting with a deadline.

A `Desk` is a producer and an observer that needs no client library: it submits through the script, as any
language would, and reads records as they are.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import redis

from microbatch.common.codec import decode, encode
from microbatch.common.connection import BlockingConnection, Endpoint
from microbatch.common.identifiers import new_local_id, payload_digest
from microbatch.common.jobs.entry import Entry, parse_entry
from microbatch.common.jobs.states import FINAL_STATES
from microbatch.common.keys import QueueKeys
from microbatch.common.scripts import NewJob, QueueStatus, queue_status, submit
from microbatch.common.settings import WorkerSettings
from microbatch.worker import BatchProcessor
from microbatch.worker.batch import Batch, Job

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["Desk", "Recorder", "desk_at", "make_batch", "make_entry", "quick", "until", "wait_until"]

POLL_S = 0.005
PATIENCE_S = 30.0
"""How long what comes in milliseconds may take on a machine that is busy."""


def make_entry(local: str = "a", payload: Any = 1, *, sequence: int = 0, **fields: Any) -> Entry:
    """An entry of the lane `main`, as a claim would parse it."""
    flat = [b"v", b"1", b"id", local.encode(), b"client", b"c", b"payload", encode(payload)]
    for name, value in fields.items():
        flat += [name.encode(), value if isinstance(value, bytes) else str(value).encode()]
    return parse_entry("main", f"1700000000000-{sequence}".encode(), flat)


def make_batch(
    locals_: Sequence[str], payloads: Sequence[Any] | None = None
) -> tuple[Batch[Any], list[Entry]]:
    """A batch of the queue `q` and its entries."""
    values = list(range(len(locals_))) if payloads is None else list(payloads)
    entries = [make_entry(local, index, sequence=index) for index, local in enumerate(locals_)]
    jobs = [Job("q", entry, value, {}) for entry, value in zip(entries, values, strict=True)]
    return Batch("b1", "q", "size", jobs), entries


def wait_until(ready: Callable[[], Any], timeout_s: float = PATIENCE_S, what: str = "it") -> float:
    """Block until `ready()` is true; returns how long that took.

    Raises:
        AssertionError: It was not within `timeout_s`.
    """
    began_s = time.monotonic()
    while not ready():
        if time.monotonic() - began_s > timeout_s:
            raise AssertionError(f"{what} did not happen within {timeout_s:g} s")
        time.sleep(POLL_S)
    return time.monotonic() - began_s


async def until(ready: Callable[[], Any], timeout_s: float = PATIENCE_S, what: str = "it") -> float:
    """`wait_until` for a test on the loop."""
    began_s = time.monotonic()
    while not ready():
        if time.monotonic() - began_s > timeout_s:
            raise AssertionError(f"{what} did not happen within {timeout_s:g} s")
        await asyncio.sleep(POLL_S)
    return time.monotonic() - began_s


def quick(url: str, **values: Any) -> WorkerSettings:
    """Worker settings for a test: they reach this server, and everything in them is short."""
    settings: dict[str, Any] = {"redis_url": url, "connect_timeout_s": 5.0, "drain_timeout_s": 10.0}
    return WorkerSettings(**(settings | values))


class Recorder(BatchProcessor[Any, Any]):
    """Answers every payload with itself; remembers its batches; waits while its gate is shut."""

    def __init__(self, queue: str = "work", **declared: Any) -> None:
        self.queue = queue
        for name, value in declared.items():
            setattr(self, name, value)
        self.batches: list[Batch[Any]] = []
        self.running = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def process(self, batch: Batch[Any]) -> list[Any]:
        self.batches.append(batch)
        self.running += 1
        try:
            await self.gate.wait()
        finally:
            self.running -= 1
        return batch.payloads

    @property
    def sizes(self) -> list[int]:
        """The sizes of its batches, in order."""
        return [len(batch) for batch in self.batches]


class Desk:
    """One queue, seen from outside."""

    def __init__(self, url: str, queue: str) -> None:
        self.url = url
        self.queue = queue
        self.keys = QueueKeys(queue)
        self.redis = redis.Redis.from_url(url, protocol=2)
        self._connection = BlockingConnection(Endpoint(url, 5.0, "desk"))

    def close(self) -> None:
        self._connection.close()
        self.redis.close()

    def submit(self, *payloads: Any, ids: Sequence[str] = (), client: str = "desk") -> list[str]:
        """Submit in one call; returns the local ids."""
        locals_ = list(ids) or [new_local_id() for _ in payloads]
        jobs = []
        for local, payload in zip(locals_, payloads, strict=True):
            data = encode(payload)
            jobs.append(NewJob(local, payload_digest(data), data))
        reply = self._connection.run(submit(self.keys, client, jobs, max_queue_length=1_000_000))
        assert reply.codes is None, f"refused: {reply}"
        return locals_

    def add_raw(self, **fields: bytes) -> str:
        """Add an entry behind the protocol's back."""
        token: bytes = self.redis.xadd(self.keys.lane("main"), fields)  # type: ignore[arg-type, assignment]
        return f"main:{token.decode()}"

    def record(self, local: str) -> dict[str, bytes]:
        """The job's record as it is."""
        found: dict[bytes, bytes] = self.redis.hgetall(self.keys.job(local))  # type: ignore[assignment]
        return {name.decode(): value for name, value in found.items()}

    def state(self, local: str) -> str:
        """The record's state; empty where there is no record."""
        found: bytes | None = self.redis.hget(self.keys.job(local), "state")  # type: ignore[assignment]
        return "" if found is None else found.decode()

    def are_final(self, locals_: Sequence[str]) -> bool:
        """Whether every one of these jobs has ended."""
        with self.redis.pipeline(transaction=False) as pipeline:
            for local in locals_:
                pipeline.hget(self.keys.job(local), "state")
            return all(state is not None and state.decode() in FINAL_STATES for state in pipeline.execute())

    def result(self, local: str) -> Any:
        """The result of a job that succeeded."""
        record = self.record(local)
        assert record["state"] == b"succeeded", decode(record["error"]) if "error" in record else record
        return decode(record["result"])

    def error(self, local: str) -> dict[str, str]:
        """The error of a job that failed: type, message, traceback."""
        record = self.record(local)
        assert record["state"] == b"failed", record
        error: dict[str, str] = decode(record["error"])
        return error

    def status(self, heartbeat_limit_ms: int = 10_000) -> QueueStatus:
        """The queue's numbers."""
        return self._connection.run(queue_status(self.keys, heartbeat_limit_ms=heartbeat_limit_ms))

    def script_calls(self) -> int:
        """How many scripts anybody has called since the server's statistics were reset."""
        stats: dict[str, Any] = self.redis.info("commandstats")
        calls: int = stats.get("cmdstat_evalsha", {}).get("calls", 0)
        return calls

    def reset_statistics(self) -> None:
        self.redis.config_resetstat()

    def consumers(self) -> set[str]:
        """Who the lanes' groups know."""
        names: set[str] = set()
        for lane in ("main", "front", "solo"):
            key = self.keys.lane(lane)
            if self.redis.exists(key):
                for group in self.redis.xinfo_groups(key):
                    rows = self.redis.xinfo_consumers(key, group["name"])
                    names |= {row["name"].decode() for row in rows}
        return names

    def workers(self) -> set[str]:
        """Who has a heartbeat."""
        members: list[bytes] = self.redis.zrange(self.keys.workers, 0, -1)  # type: ignore[assignment]
        return {name.decode() for name in members}

    def held_batches(self) -> list[str]:
        """The keys of workers that hold batches."""
        return [key.decode() for key in self.redis.keys(self.keys.batches("*"))]  # type: ignore[union-attr]

    def is_clean(self) -> bool:
        """Whether nothing waits, nothing runs, and nobody holds a batch."""
        status = self.status()
        return status.waiting == 0 and status.running == 0 and not self.held_batches()


@contextmanager
def desk_at(url: str, queue: str = "work") -> Iterator[Desk]:
    """A desk for the time of a test."""
    desk = Desk(url, queue)
    try:
        yield desk
    finally:
        desk.close()
