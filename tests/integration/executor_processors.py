"""Processors that misbehave in every way, for each place where one can run.

What they do depends on the payload alone, so that it is the same in every run and in every process.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opentelemetry import trace

from microbatch.worker import Batch, BatchProcessor, Job, Retry, batch_processor

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "QUEUE",
    "Chatty",
    "Counted",
    "OnlyOnce",
    "Refuses",
    "Streams",
    "Traced",
    "Watches",
    "in_process",
    "misbehaves",
    "misbehaves_async",
]

QUEUE = "work"
HANG_S = 60.0
SLOW_S = 1.0


def act(payload: Any, attempt: int) -> Any:  # noqa: C901, PLR0912 - one line for each way
    match payload:
        case "raise":
            raise ValueError("poison")
        case "exit 0":
            sys.exit(0)
        case "exit 1":
            sys.exit(1)
        case "die":
            os._exit(3)
        case "die with a fork":  # which keeps what its parent had open
            if os.fork():
                os._exit(3)
            time.sleep(SLOW_S * 5)
            os._exit(0)
        case "hang":
            time.sleep(HANG_S)
        case "slow":
            time.sleep(SLOW_S)
        case "flaky":
            return Retry(delay_s=0) if attempt == 1 else attempt
        case "error":
            return OSError("this one alone")
        case "circular":
            circular: list[Any] = []
            circular.append(circular)
            return circular
        case "large":
            return "x" * 3_000_000
        case "pid":
            return os.getpid()
    return payload


def answers(batch: Batch[Any]) -> list[Any]:
    if "wrong count" in batch.payloads:
        return []
    return [act(job.payload, job.attempt) for job in batch]


@batch_processor(queue=QUEUE, max_wait_ms=0)
def misbehaves(batch: Batch[Any]) -> list[Any]:
    return answers(batch)


@batch_processor(queue=QUEUE, max_wait_ms=0)
async def misbehaves_async(batch: Batch[Any]) -> list[Any]:
    return answers(batch)


@batch_processor(queue=QUEUE, max_wait_ms=0, executor="process")
def in_process(batch: Batch[Any]) -> list[Any]:
    return answers(batch)


class Counted(BatchProcessor[Any, Any]):
    """Says in which process it was set up, and how many batches that has seen."""

    queue = QUEUE
    max_wait_ms = 0
    executor = "process"
    max_batches_per_child = 2

    async def setup(self) -> None:
        self.pid = os.getpid()
        self.batches = 0

    async def process(self, batch: Batch[Any]) -> list[Any]:
        self.batches += 1
        return [[self.pid, self.batches]] * len(batch)


class OnlyOnce(BatchProcessor[Any, Any]):
    """Its first process can be set up, a later one cannot."""

    queue = QUEUE
    max_wait_ms = 0
    executor = "process"

    def setup(self) -> None:
        Path("set_up").touch(exist_ok=False)

    def process(self, batch: Batch[Any]) -> list[Any]:
        return answers(batch)


class Watches(BatchProcessor[Any, Any]):
    """Runs until its first job is cancelled, and then makes the file that the payload names."""

    queue = QUEUE
    max_wait_ms = 0
    executor = "process"

    def process(self, batch: Batch[Any]) -> list[Any]:
        Path(batch[0].payload + "-begun").touch()
        while not batch[0].cancelled:
            time.sleep(0.01)
        Path(batch[0].payload).touch()
        return batch.payloads


class Refuses(BatchProcessor[Any, Any]):
    queue = QUEUE
    executor = "process"

    def setup(self) -> None:
        raise OSError("no such model")

    def process(self, batch: Batch[Any]) -> list[Any]:
        return batch.payloads


class Chatty(BatchProcessor[str, str]):
    """Says what it does, from its thread and from another one; dies when it is told to."""

    queue = "chatty"
    max_wait_ms = 0

    def process(self, batch: Batch[str]) -> list[str]:
        for job in batch:
            job.log.info("got %s", job.payload)
            other = threading.Thread(target=job.log.warning, args=("from a thread",))
            other.start()
            other.join()
            job.progress(1, "all of it")
            if job.payload == "die":
                time.sleep(SLOW_S)
                os._exit(3)
        return batch.payloads


class Traced(BatchProcessor[Any, list[str]]):
    """Says which span is the current one where it runs."""

    queue = "traced-child"
    max_wait_ms = 0
    executor = "process"

    def process(self, batch: Batch[Any]) -> list[list[str]]:
        span = trace.get_current_span().get_span_context()
        return [[f"{span.trace_id:032x}", f"{span.span_id:016x}"]] * len(batch)


class Streams(BatchProcessor[str, str]):
    """Yields results as they are ready; is slow and raises where it is told to."""

    queue = "streams"

    def process(self, batch: Batch[str]) -> Iterator[tuple[Job[str], str]]:
        for job in batch:
            if job.payload == "slow":
                time.sleep(SLOW_S)
            if job.payload == "raise":
                raise ValueError("poison")
            yield job, job.payload.upper()
