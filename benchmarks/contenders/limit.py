"""The limit: the least that one would write by hand with redis-py, and nothing that makes it a product.

XADD, XREADGROUP, then SET + XACK + XDEL + PUBLISH in one pipeline that also reads the next batch. It waits
for no company, recovers nothing, bounds nothing and checks nothing. redis-py's callbacks are off: they would
only turn replies into dicts.

Rule: a feature that microbatch has is no reason to slow this down. It never imports microbatch.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Self

import msgpack
import redis

from benchmarks.contenders.contract import TIMEOUT_S, Contender, Outcome
from benchmarks.contenders.threads import ThreadProducer
from benchmarks.workload import Answer, Payload, process, process_at_a_cost

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.cell import Site

__all__ = ["JSON_LIMIT", "MSGPACK_LIMIT"]

STREAM, GROUP = "jobs", "workers"
RESULT_TTL_S = 300
BLOCK_MS = 1000
CHUNK_JOBS = 500

Codec = tuple["Callable[[Any], Any]", "Callable[[Any], Any]"]
_JSON: Codec = (json.JSONEncoder(separators=(",", ":"), check_circular=False).encode, json.loads)
_MSGPACK: Codec = (msgpack.packb, msgpack.unpackb)


def _connect(url: str) -> Any:
    client = redis.Redis.from_url(url, protocol=2, socket_timeout=TIMEOUT_S)
    client.response_callbacks.clear()
    return client


def work(codec: Codec, site: Site, ready: Callable[[], None]) -> None:
    """Be the worker: one round trip per batch."""
    dumps, loads = codec
    run = process_at_a_cost if site.cell.costs else process
    client = _connect(site.url)
    with contextlib.suppress(redis.ResponseError):  # the group exists
        client.execute_command("XGROUP", "CREATE", STREAM, GROUP, "0", "MKSTREAM")
    consumer = str(os.getpid())
    read = ("XREADGROUP", "GROUP", GROUP, consumer, "COUNT", site.cell.max_batch_size, "BLOCK", BLOCK_MS)
    pipeline = client.pipeline(transaction=False)
    ready()
    while True:
        pipeline.execute_command(*read, "STREAMS", STREAM, ">")
        reply = pipeline.execute()[-1]
        if not reply:
            continue
        entries = reply[0][1]
        answers = run([loads(fields[5]) for _, fields in entries])
        replies: dict[bytes, list[tuple[str, Answer]]] = {}
        for (_, fields), answer in zip(entries, answers, strict=True):
            pipeline.execute_command("SET", b"result:" + fields[1], dumps(answer), "EX", RESULT_TTL_S)
            replies.setdefault(fields[3], []).append((fields[1].decode(), answer))
        entry_ids = [entry_id for entry_id, _ in entries]
        pipeline.execute_command("XACK", STREAM, GROUP, *entry_ids)
        pipeline.execute_command("XDEL", STREAM, *entry_ids)
        for client_id, rows in replies.items():
            pipeline.execute_command("PUBLISH", b"reply:" + client_id, dumps(rows))


class LimitProducer(ThreadProducer):
    """The producer: pipelines of XADD, results by pub/sub."""

    def __init__(self, codec: Codec, site: Site) -> None:
        self._dumps, self._loads = codec
        self._client_id = str(os.getpid())
        self._redis = _connect(site.url)
        self._replies = _connect(site.url).pubsub(ignore_subscribe_messages=True)
        self._reader: threading.Thread | None = None
        self._taken: dict[str, Callable[[Any], None]] = {}

    def __enter__(self) -> Self:
        self._replies.subscribe(f"reply:{self._client_id}")
        self._replies.get_message(timeout=TIMEOUT_S)
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing: the process ends, and with it the reader."""

    def run_all(self, payloads: Sequence[Payload]) -> Sequence[Answer]:
        """See `Producer`."""
        results: dict[str, Answer] = {}
        for first in range(0, len(payloads), CHUNK_JOBS):
            self._add_all(payloads[first : first + CHUNK_JOBS])
            while self._collect(results, timeout_s=0.0):
                pass
        while len(results) < len(payloads):
            if not self._collect(results, timeout_s=TIMEOUT_S):
                raise TimeoutError(f"{len(payloads) - len(results)} results did not come")
        return [results[str(item["id"])] for item in payloads]

    def submit_bulk(self, payloads: Sequence[Payload]) -> None:
        """See `Producer`."""
        for first in range(0, len(payloads), CHUNK_JOBS):
            self._add_all(payloads[first : first + CHUNK_JOBS])

    def submit(self, item: Payload) -> None:
        """See `ThreadProducer`."""
        self._redis.execute_command(*self._add(item))

    def call(self, item: Payload) -> Any:
        """See `ThreadProducer`."""
        box: SimpleQueue[Any] = SimpleQueue()
        self._expect(item, box.put)
        self.submit(item)
        return box.get(timeout=TIMEOUT_S)

    def arrive(self, payloads: Sequence[Payload], due_s: Sequence[float]) -> list[Outcome]:
        """See `Producer`. Without threads for callers: one thread submits, the reader stops the clocks."""
        outcomes: SimpleQueue[Outcome] = SimpleQueue()

        def note(number: int, sent_s: float, answer: Any) -> None:
            outcomes.put(Outcome(number, time.perf_counter() - sent_s, answer))

        begun_s = time.perf_counter()
        for item, due in zip(payloads, due_s, strict=True):
            time.sleep(max(0.0, begun_s + due - time.perf_counter()))
            self._expect(item, partial(note, item["id"], time.perf_counter()))
            self.submit(item)
        return [outcomes.get(timeout=TIMEOUT_S) for _ in payloads]

    def waiting(self) -> int:
        """See `Producer`."""
        return int(self._redis.execute_command("XLEN", STREAM))

    def _add(self, item: Payload) -> tuple[Any, ...]:
        data = self._dumps(item)
        return ("XADD", STREAM, "*", "id", str(item["id"]), "client", self._client_id, "payload", data)

    def _add_all(self, payloads: Sequence[Payload]) -> None:
        pipeline = self._redis.pipeline(transaction=False)
        for item in payloads:
            pipeline.execute_command(*self._add(item))
        pipeline.execute()

    def _collect(self, results: dict[str, Answer], *, timeout_s: float) -> bool:
        message = self._replies.get_message(timeout=timeout_s)
        if message is not None:
            results.update(self._loads(message["data"]))
        return message is not None

    def _expect(self, item: Payload, take: Callable[[Any], None]) -> None:
        self._taken[str(item["id"])] = take
        if self._reader is None:
            self._reader = threading.Thread(target=self._read, daemon=True)
            self._reader.start()

    def _read(self) -> None:
        for message in self._replies.listen():
            for local, answer in self._loads(message["data"]):
                self._taken.pop(local)(answer)


JSON_LIMIT = Contender(partial(work, _JSON), partial(LimitProducer, _JSON))
MSGPACK_LIMIT = Contender(partial(work, _MSGPACK), partial(LimitProducer, _MSGPACK))
