"""Run a processor in child processes: whatever one does to its process, the worker lives on.

Rule: one child per slot (whoever calls keeps to the slots), each with its own `setup`; a child runs one batch
at a time, so that its death costs that batch alone. A child that died, hung or has run its share is replaced
before the next batch.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING, Any

from microbatch.worker.batch import notes_of
from microbatch.worker.child import Child, ChildGone
from microbatch.worker.child_frames import PARTS, read_outcomes, read_run, rows_of
from microbatch.worker.child_place import here
from microbatch.worker.executor import BatchLost, Run
from microbatch.worker.pump import Pump
from microbatch.worker.reference import reference_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from microbatch.common.jobs.entry import Entry
    from microbatch.common.settings.queue import QueueSettings
    from microbatch.worker.batch import Batch
    from microbatch.worker.child_sideline import Sideline
    from microbatch.worker.executor import Settle
    from microbatch.worker.processor import BatchProcessor

__all__ = ["ProcessExecutor"]

log = logging.getLogger("microbatch.worker")


class ProcessExecutor:
    """One processor in as many child processes as its queue has slots.

    Args:
        processor: What to run; it must be importable by name.
        settings: Its queue's.
        on_stuck: Called when no child can be set up any more: this worker could only hold jobs up.

    Raises:
        ProcessorError: A child process could not find it.
    """

    def __init__(
        self, processor: BatchProcessor[Any, Any], settings: QueueSettings, on_stuck: Callable[[str], None]
    ) -> None:
        self._on_stuck = on_stuck
        self._reference = reference_of(processor)
        self._name = processor.name
        self._settings = settings
        self._free: list[Child] = []
        self._busy: set[Child] = set()
        self._slots = settings.concurrency
        self._leaving: set[asyncio.Task[None]] = set()

    async def setup(self) -> None:
        """Start the children and set the processor up in each.

        Raises:
            ProcessorError: It cannot be imported there, or its `setup` failed.
        """
        started = await asyncio.gather(
            *(self._start() for _ in range(self._settings.concurrency)), return_exceptions=True
        )
        self._free = [child for child in started if isinstance(child, Child)]
        errors = [error for error in started if isinstance(error, BaseException)]
        if errors:
            await self.teardown()
            raise errors[0]

    async def execute(self, batch: Batch[Any], entries: Sequence[Entry], settle: Settle | None = None) -> Run:
        """Run a batch in a child.

        Raises:
            BatchLost: The child died, or took longer than `batch_timeout_s` and was killed.
        """
        async with Pump(settle) as pump:
            child = await self._take()
            ear = partial(_hear, batch, entries, pump)
            try:
                async with asyncio.timeout(self._settings.batch_timeout_s):
                    # Jobs that came too late were set aside by the worker: the child judges no deadlines.
                    answer = await child.ask(batch.id, batch.reason, 0, here(), rows_of(entries), hear=ear)
            except TimeoutError:
                limit_s = self._settings.batch_timeout_s
                raise BatchLost(f"{self._name} took longer than {limit_s:g} s", timed_out=True) from None
            except ChildGone as gone:
                raise BatchLost(f"the process of {self._name} {gone}", died=True) from gone
            else:
                await self._put_back(child)
            finally:
                self._busy.discard(child)
                if child not in self._free:
                    await child.kill()
        run = read_run(answer, entries)
        return Run(pump.kept + run.outcomes, run.ending)

    async def teardown(self) -> None:
        """Let every child tear its processor down."""
        free, self._free = self._free, []
        await asyncio.gather(*(child.leave() for child in free), *self._leaving)

    def resize(self, slots: int) -> None:
        """Have as many children as there are slots: more when they are needed, fewer when batches end."""
        self._slots = slots
        while self._free and len(self._free) + len(self._busy) > slots:
            leaving = asyncio.ensure_future(self._free.pop().leave())
            self._leaving.add(leaving)
            leaving.add_done_callback(self._leaving.discard)

    def sidelines(self) -> list[Sideline]:
        """The lines to its children, busy ones first; from any thread."""
        return [child.sideline for child in (*self._busy, *self._free)]

    def cancelled(self, token: str) -> None:
        """Tell the children that the job of this entry was cancelled."""
        for child in self._busy:
            child.tell(token)

    def abandon(self) -> None:
        """Leave at once, because a call is stuck."""
        for child in (*self._free, *self._busy):
            child.kill_soon()

    async def _take(self) -> Child:
        try:
            child = self._free.pop() if self._free else await self._start()
        except Exception as error:
            self._on_stuck(f"no child process for {self._name} can be started: {error}")
            raise BatchLost(f"no child process for {self._name}: {error}") from error
        self._busy.add(child)
        return child

    async def _put_back(self, child: Child) -> None:
        child.batches += 1
        share = self._settings.max_batches_per_child
        self._busy.discard(child)  # first: of several that end at once, those that leave count no more
        is_surplus = len(self._free) + len(self._busy) >= self._slots
        if is_surplus or (share is not None and child.batches >= share):
            await child.leave()
        else:
            self._free.append(child)

    async def _start(self) -> Child:
        options = {
            "concurrency": 1,
            "max_result_bytes": self._settings.max_result_bytes,
        }
        return await Child.start(self._reference, options)


def _hear(batch: Batch[Any], entries: Sequence[Entry], pump: Pump, what: str, rows: list[Any]) -> None:
    """Say here what the processor said in its child, and hand on the results that it has."""
    if what == PARTS:
        pump.put(read_outcomes(rows, entries))
        return
    notes = notes_of(batch)
    if notes is not None:
        by_token = {entry.token: entry for entry in entries}
        for token, progress, lines in rows:
            notes.relay(by_token[token], progress, lines)
