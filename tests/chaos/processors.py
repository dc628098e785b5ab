"""Processors for worker processes that are going to be killed, stopped and blocked.

What they do depends on the job alone (its payload, its attempt), so that every process behaves alike.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import threading
import time
from typing import Any

from microbatch.worker import Batch, Schedule, batch_processor

__all__ = [
    "QUEUE",
    "answers_at_once",
    "blocks_the_loop_once",
    "digests",
    "every_second",
    "hangs_once",
    "hangs_once_in_a_thread",
    "kills_its_worker",
    "raises_or_kills",
    "slow_once",
    "terminates_its_own_thread",
]

QUEUE = "chaos"
HANG_S = 120.0
SLOW_S = 4.0


every_second = Schedule("tick", queue=QUEUE, every_s=1, payload={"n": 1, "ms": 300}, missed="run_all")


def digest(payload: Any) -> str:
    """What every processor here answers: it says which payload it was made from."""
    return hashlib.sha256(repr(payload).encode()).hexdigest()[:16]


def _answers(batch: Batch[Any]) -> list[str]:
    return [digest(payload) for payload in batch.payloads]


def _is_first_run(batch: Batch[Any]) -> bool:
    return any(job.attempt == 1 for job in batch)


@batch_processor(queue=QUEUE)
async def digests(batch: Batch[Any]) -> list[str]:
    """Takes as many milliseconds as its slowest payload says."""
    await asyncio.sleep(max(payload["ms"] for payload in batch.payloads) / 1000)
    return _answers(batch)


@batch_processor(queue=QUEUE)
async def answers_at_once(batch: Batch[Any]) -> list[str]:
    """What a good one does."""
    return _answers(batch)


@batch_processor(queue=QUEUE)
async def hangs_once(batch: Batch[Any]) -> list[str]:
    """Never ends where a job is on its first run."""
    if _is_first_run(batch):
        await asyncio.sleep(HANG_S)
    return _answers(batch)


@batch_processor(queue=QUEUE)
async def slow_once(batch: Batch[Any]) -> list[str]:
    """Long enough to be frozen meanwhile where a job is on its first run; at once after that."""
    if _is_first_run(batch):
        await asyncio.sleep(SLOW_S)
    return _answers(batch)


@batch_processor(queue=QUEUE)
def hangs_once_in_a_thread(batch: Batch[Any]) -> list[str]:
    """The same, as a call that nothing can interrupt."""
    if _is_first_run(batch):
        time.sleep(HANG_S)
    return _answers(batch)


@batch_processor(queue=QUEUE)
async def blocks_the_loop_once(batch: Batch[Any]) -> list[str]:
    """The same, as a call that takes the whole event loop with it."""
    if _is_first_run(batch):
        time.sleep(HANG_S)  # noqa: ASYNC251 - the mistake that this is about
    return _answers(batch)


@batch_processor(queue=QUEUE)
def terminates_its_own_thread(batch: Batch[Any]) -> list[str]:
    """The system may give a process's signal to any of its threads; here it is surely not the main one."""
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
    return _answers(batch)


@batch_processor(queue=QUEUE)
async def kills_its_worker(batch: Batch[Any]) -> list[str]:
    """Dies with its whole process where the batch has the poisonous payload."""
    if "poison" in batch.payloads:
        os._exit(9)
    return _answers(batch)


@batch_processor(queue=QUEUE)
async def raises_or_kills(batch: Batch[Any]) -> list[str]:
    """Goes through its jobs in order; raises for `poison`, and dies over `crasher`."""
    for payload in batch.payloads:
        if payload == "crasher":
            os._exit(1)
        if payload == "poison":
            raise ValueError(f"found {payload}")
    return _answers(batch)
