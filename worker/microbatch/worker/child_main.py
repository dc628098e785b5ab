"""The child process: one processor, one batch at a time, for as long as its worker lives.

Rule: it knows no Redis. It answers each batch with one message, ignores the signals that are meant for its
worker, and ends with it, however that ends. What is logged goes to the worker. The worker starts it: `python
-m microbatch.worker.child_main FD SIDELINE LOG MODULE NAME`.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import faulthandler
import gc
import logging
import os
import signal
import socket
import sys
import threading
from typing import TYPE_CHECKING, Any

from microbatch.common.errors import MicrobatchError
from microbatch.common.settings import WorkerSettings
from microbatch.common.settings.queue import queue_settings
from microbatch.worker.answers import describe
from microbatch.worker.assembly import assemble
from microbatch.worker.batch import Batch
from microbatch.worker.child_frames import (
    LENGTH_BYTES,
    NOTES,
    PARTS,
    frame,
    message,
    read_entries,
    row_of_run,
    rows_of_notes,
    rows_of_outcomes,
)
from microbatch.worker.child_log import LogToWorker, use_levels
from microbatch.worker.child_place import within
from microbatch.worker.child_sideline import attend
from microbatch.worker.local_executor import LocalExecutor
from microbatch.worker.notes import Notes
from microbatch.worker.reference import referred
from microbatch.worker.retries import RetryRules

if TYPE_CHECKING:
    from collections.abc import Sequence

    from microbatch.common.jobs.entry import Entry
    from microbatch.common.scripts import JobNote, Outcome
    from microbatch.worker.batch import BatchReason
    from microbatch.worker.processor import BatchProcessor

__all__ = ["main"]

log = logging.getLogger("microbatch.worker")
_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Serve until the worker hangs up."""
    descriptor, sideline, log_line, module, name = arguments
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTSTP, signal.SIGUSR1):
        # A terminal or a supervisor tells the whole group. A handler that does nothing, because what the
        # processor starts itself would inherit `SIG_IGN`.
        signal.signal(number, lambda _number, _frame: None)
    if sys.platform == "linux":
        # The sideline needs the interpreter; this ends a processor that holds it, too.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    faulthandler.enable()
    logging.basicConfig(handlers=[LogToWorker(socket.socket(fileno=int(log_line)))])
    with asyncio.Runner() as runner:
        ear = (socket.socket(fileno=int(sideline)), runner.get_loop())
        threading.Thread(target=attend, args=ear, name="microbatch-sideline", daemon=True).start()
        runner.run(_serve(socket.socket(fileno=int(descriptor)), module, name))
    os._exit(0)  # a thread of the user's must not keep us


async def _serve(line: socket.socket, module: str, name: str) -> None:
    reader, writer = await asyncio.open_connection(sock=line)
    executor = None
    # The worker hangs up (and not the tether), in the middle of the start too.
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        options, levels = await _receive(reader)
        use_levels(levels)
        try:
            processor = referred(module, name)
            settings = queue_settings(processor.queue, settings=WorkerSettings(), cli=options)
            starting = LocalExecutor(processor, settings, lambda _why: None)
            await starting.setup()
        except Exception as error:  # noqa: BLE001 - whatever an import or a setup raises, the worker must hear it
            said = str(error) if isinstance(error, MicrobatchError) else describe(error)
            writer.write(frame("failed", said))
            await writer.drain()
            return
        executor = starting
        gc.freeze()  # what was imported and set up stays: no full collection needs to visit it
        writer.write(frame("ready", ""))
        await _work(processor, executor, reader, writer)
    if executor is not None:
        await executor.teardown()


async def _work(
    processor: BatchProcessor[Any, Any],
    executor: LocalExecutor,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    rules = RetryRules.of(processor.retry_on, processor.give_up_on)
    entries: list[Entry] = []

    async def settle(outcomes: Sequence[Outcome]) -> None:
        writer.write(frame(PARTS, rows_of_outcomes(outcomes, rules)))

    async def tell(notes: Sequence[JobNote]) -> None:
        writer.write(frame(NOTES, rows_of_notes(notes)))

    async def answer(batch_id: str, reason: BatchReason, claimed_ms: int, where: list[Any]) -> None:
        notes = Notes(tell)
        jobs = assemble(processor.queue, entries, claimed_ms, notes).jobs
        with within(*where):
            run = await executor.execute(Batch(batch_id, processor.queue, reason, jobs), entries, settle)
        await notes.flush()
        notes.stop()
        writer.write(frame(*row_of_run(run, rules)))

    running: asyncio.Task[None] | None = None
    while True:
        asked = await _receive(reader)
        if len(asked) == 1:  # a job was cancelled
            for entry in entries:
                entry.cancelled = entry.cancelled or entry.token == asked[0]
            continue
        *facts, rows = asked
        entries = read_entries(rows)
        running = asyncio.create_task(answer(*facts))
        running.add_done_callback(_report)


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("a child process broke", exc_info=error)
        os._exit(70)  # a bug of ours: the worker would wait for an answer that never comes


async def _receive(reader: asyncio.StreamReader) -> list[Any]:
    length = int.from_bytes(await reader.readexactly(LENGTH_BYTES), "big")
    return message(await reader.readexactly(length))


if __name__ == "__main__":
    main(sys.argv[1:])
