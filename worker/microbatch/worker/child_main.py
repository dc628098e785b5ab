"""The child process: one processor, one batch at a time, for as long as its worker lives.

Rule: it knows no Redis. It answers each batch with one message, ignores the signals that are meant for its
worker, and ends with it, however that ends. The worker starts it: `python -m microbatch.worker.child_main FD
TETHER MODULE NAME`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import threading
from typing import Any

from microbatch.common.errors import MicrobatchError
from microbatch.common.queue_settings import queue_settings
from microbatch.common.settings import WorkerSettings
from microbatch.worker.answers import describe
from microbatch.worker.assembly import assemble
from microbatch.worker.batch import Batch
from microbatch.worker.child_frames import LENGTH_BYTES, frame, message, read_entries, row_of_run
from microbatch.worker.local_executor import LocalExecutor
from microbatch.worker.reference import referred
from microbatch.worker.retries import RetryRules

__all__ = ["main"]


def main(arguments: list[str]) -> None:
    """Serve until the worker hangs up."""
    descriptor, tether, module, name = arguments
    for number in (signal.SIGTERM, signal.SIGINT):  # a terminal or a supervisor tells the whole group
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(int(tether),), name="microbatch-tether", daemon=True).start()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s child %(process)d %(name)s: %(message)s")
    asyncio.run(_serve(socket.socket(fileno=int(descriptor)), module, name))
    os._exit(0)  # a thread of the user's must not keep us


def _end_with(tether: int) -> None:
    """End at once when the worker is gone, whatever the processor is doing."""
    with contextlib.suppress(OSError):
        os.read(tether, 1)
    os._exit(1)


async def _serve(line: socket.socket, module: str, name: str) -> None:
    reader, writer = await asyncio.open_connection(sock=line)
    [options] = await _receive(reader)
    try:
        processor = referred(module, name)
        settings = queue_settings(processor.queue, settings=WorkerSettings(), cli=options)
        executor = LocalExecutor(processor, settings, lambda _why: None)
        await executor.setup()
    except Exception as error:  # noqa: BLE001 - whatever an import or a setup raises, the worker must hear it
        said = str(error) if isinstance(error, MicrobatchError) else describe(error)
        writer.write(frame("failed", said))
        await writer.drain()
        return
    writer.write(frame("ready", ""))
    rules = RetryRules.of(processor.retry_on, processor.give_up_on)
    while True:
        try:
            asked = await _receive(reader)
        except (asyncio.IncompleteReadError, ConnectionError):
            break  # the worker asks us to leave by hanging up the line (and not the tether)
        batch_id, reason, claimed_ms, rows = asked
        entries = read_entries(rows)
        jobs = assemble(processor.queue, entries, claimed_ms).jobs
        run = await executor.execute(Batch(batch_id, processor.queue, reason, jobs), entries)
        writer.write(frame(*row_of_run(run, rules)))
        await writer.drain()
    await executor.teardown()


async def _receive(reader: asyncio.StreamReader) -> list[Any]:
    length = int.from_bytes(await reader.readexactly(LENGTH_BYTES), "big")
    return message(await reader.readexactly(length))


if __name__ == "__main__":
    main(sys.argv[1:])
