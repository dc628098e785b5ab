"""The processors of a chaos run: good ones, and those who raise, hang, die and miscount, as the payload says.

Rule: what they do depends on the payload alone (and where it is about an outage, on the time), and each run
of each job is written down before it begins.
"""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.chaos.history import What
from tests.chaos.processors import digest
from tests.chaos.run.journal import FOLDER_VARIABLE, Journal
from tests.chaos.run.workload import GENTLE_VARIABLE, TICK, TICK_EVERY_MS, TICK_NAME, TICK_QUEUE

from microbatch.worker import Batch, Job, Retry, Schedule, batch_processor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["Poison", "forked", "mixed", "plain", "raising", "short", "ticks"]

CRASH_CODE = 9
RUNS_ASKED = 3
HANG_S = 600.0
HANG_LIMIT_S = 2.0
OUTAGE_S = 4.0
"""So long what some jobs need is away, and so long it is there, in turns."""
ticks = Schedule(
    TICK_NAME, queue=TICK_QUEUE, every_s=TICK_EVERY_MS / 1000, payload=TICK, missed="run_all", max_missed=1000
)

_journal = Journal(Path(os.environ.get(FOLDER_VARIABLE, "/tmp")), "worker")  # noqa: S108 - only where imported bare


class Poison(Exception):
    """What a processor raises for a poisonous payload."""


def _begin(batch: Batch[Any]) -> list[str]:
    for job in batch:
        _journal.note(What.BEGAN, job.id, detail=str(job.attempt))
    if len({job.batch_key for job in batch}) > 1:
        _journal.odd(f"jobs of several keys in {batch!r}")
    return [payload["do"] for payload in batch.payloads]


def _is_harmful(kind: str, doings: list[str]) -> bool:
    return kind in doings and GENTLE_VARIABLE not in os.environ


def _busy_s(batch: Batch[Any]) -> float:
    busy_ms: int = max(payload["ms"] for payload in batch.payloads)
    return busy_ms / 1000


@batch_processor(queue="mixed")
async def mixed(batch: Batch[Any]) -> AsyncIterator[tuple[Job[Any], Any]]:
    """Some jobs are slow, some fail, some kill the process when others of the batch have their results."""
    _journal.count_tasks()
    _begin(batch)
    pause_s = _busy_s(batch) / len(batch)
    for job in batch:
        job.log.info("run %d", job.attempt)
        if _is_harmful("crash", [job.payload["do"]]):
            os._exit(CRASH_CODE)
        await asyncio.sleep(pause_s)
        job.progress(1, "done")
        yield job, _answer(job)


def _answer(job: Job[Any]) -> Any:
    match job.payload["do"]:
        case "fails" | "hopeless":
            return ValueError(str(job.payload["n"]))
        case "flaky" if job.attempt == 1:
            return ValueError("not the first time")
        case "outage" if int(time.time() / OUTAGE_S) % 2 == 0:
            return ConnectionError("what it needs is away")
        case "again" if job.attempt < RUNS_ASKED:
            return Retry(delay_s=0.2)
    return digest(job.payload)


@batch_processor(queue="plain", max_wait_ms=0)
async def plain(batch: Batch[Any]) -> list[Any]:
    """Answers in order, after no waiting for company."""
    _begin(batch)
    await asyncio.sleep(_busy_s(batch))
    return [_answer(job) for job in batch]


@batch_processor(queue="raising", batch_timeout_s=HANG_LIMIT_S)
def raising(batch: Batch[Any]) -> list[Any]:
    """Raises for the whole batch where a payload is poison, hangs where one asks for it; in a thread."""
    doings = _begin(batch)
    time.sleep(HANG_S if _is_harmful("hang", doings) else _busy_s(batch))
    if "poison" in doings:
        raise Poison("one of these")
    return [digest(payload) for payload in batch.payloads]


@batch_processor(queue="short", batch_timeout_s=HANG_LIMIT_S)
async def short(batch: Batch[Any]) -> dict[str, Any]:
    """Answers by id, and forgets those who ask for it; hangs where one asks for that."""
    doings = _begin(batch)
    await asyncio.sleep(HANG_S if _is_harmful("hang", doings) else _busy_s(batch))
    return {job.id: digest(job.payload) for job in batch if job.payload["do"] != "short"}


@batch_processor(queue="forked", executor="process", concurrency=1, batch_timeout_s=HANG_LIMIT_S)
def forked(batch: Batch[Any]) -> list[Any]:
    """Runs in a child process, which dies or hangs where one asks for it."""
    doings = _begin(batch)
    if _is_harmful("crash", doings):
        os._exit(CRASH_CODE)
    time.sleep(HANG_S if _is_harmful("hang", doings) else _busy_s(batch))
    return [_answer(job) for job in batch]
