"""What processors say about the jobs of one batch: kept here for a moment, and written together.

Rule: saying something takes no time (no I/O, from any thread) and cannot fail a job; what is said is written
a few times a second at most, the latest progress and all lines since, in one call, and before the batch's
outcomes are. What cannot be written then is lost.

It never knows where it is written to: Redis, or the worker of a child process.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from microbatch.common.scripts import JobNote

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from microbatch.common.jobs.entry import Entry

__all__ = ["INTERVAL_S", "Notes", "line"]

log = logging.getLogger("microbatch.worker")
INTERVAL_S = 0.2
FIRST_S = 0.02
"""The first note of a batch is written almost at once, so that it is seen."""
PENDING_LINES = 1_000
LINE_LIMIT_BYTES = 4_096
PROGRESS_LIMIT_BYTES = 512


def line(level: str, text: str) -> bytes:
    """A line as it travels, cut to what a log takes."""
    return f"{level} {_cut(text, LINE_LIMIT_BYTES)}".encode()


def _cut(text: str, limit_bytes: int) -> str:
    data = text.encode("utf-8", "replace")
    return data[:limit_bytes].decode("utf-8", "ignore")


class _Page:
    """What was said about one job and is not written yet."""

    __slots__ = ("dropped", "entry", "lines", "progress", "said")

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self.progress = b""
        self.lines: deque[tuple[float, bytes]] = deque()
        self.dropped = 0
        self.said = 0


class Notes:
    """The notes of one batch. Make it on the loop; `log` and `progress` may be called from any thread.

    Args:
        write: Writes notes. What it raises is its own to report: `Notes` drops what it was given.
        clock: Seconds, for the age of lines.
    """

    def __init__(
        self,
        write: Callable[[Sequence[JobNote]], Awaitable[None]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._write = write
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._pages: dict[str, _Page] = {}
        self._fresh: dict[str, _Page] = {}
        self._signalled = False
        self._closed = False
        self._task: asyncio.Task[None] | None = None
        self._writing = asyncio.Lock()

    def log(self, entry: Entry, said: bytes, age_ms: int = 0) -> None:
        """One line (as `line` makes it) about a job, that is so old already."""
        with self._lock:
            page = self._page(entry)
            if page is None:
                return
            page.lines.append((self._clock() - age_ms / 1000, said))
            if len(page.lines) > PENDING_LINES:
                page.lines.popleft()
                page.dropped += 1
        self._signal()

    def progress(self, entry: Entry, fraction: float, text: str) -> None:
        """How far a job is; the latest wins."""
        with self._lock:
            page = self._page(entry)
            if page is None:
                return
            page.progress = f"{fraction:.4g} {_cut(text, PROGRESS_LIMIT_BYTES)}".encode()
        self._signal()

    def relay(self, entry: Entry, progress: bytes, lines: Sequence[bytes]) -> None:
        """What was said about a job in another process, as its `JobNote` has it."""
        for each in lines:
            age_ms, _, said = each.partition(b" ")
            self.log(entry, said, int(age_ms))
        if progress:
            fraction, _, text = progress.decode().partition(" ")
            self.progress(entry, float(fraction), text)

    async def flush(self) -> None:
        """Write what was said so far, after what is being written."""
        if not self._pages:  # nearly always
            return
        async with self._writing:
            await self._write_fresh()

    def stop(self) -> None:
        """The batch has ended: what is said from now on is dropped."""
        self._closed = True
        task, self._task = self._task, None  # its end holds its frame, and that holds us: no cycle
        if task is not None:
            task.cancel()

    def _page(self, entry: Entry) -> _Page | None:
        if self._closed:
            return None
        page = self._pages.get(entry.token)
        if page is None:
            page = self._pages[entry.token] = _Page(entry)
        self._fresh[entry.token] = page
        return page

    def _signal(self) -> None:
        if not self._signalled:
            self._signalled = True
            with contextlib.suppress(RuntimeError):  # the loop is closed: the call was abandoned
                self._loop.call_soon_threadsafe(self._begin)

    def _begin(self) -> None:
        if self._task is None and not self._closed:
            self._task = self._loop.create_task(self._run(), name="microbatch-notes")

    async def _run(self) -> None:
        pause_s = FIRST_S
        while True:
            await asyncio.sleep(pause_s)
            pause_s = INTERVAL_S
            if self._fresh:
                # To the end also where we are cancelled meanwhile: half a call would be no call.
                await asyncio.shield(asyncio.ensure_future(self.flush()))

    async def _write_fresh(self) -> None:
        with self._lock:
            fresh, self._fresh = self._fresh, {}
            now_s = self._clock()
            notes = [_note(page, now_s) for page in fresh.values()]
        if notes:
            await self._write(notes)


def _note(page: _Page, now_s: float) -> JobNote:
    lines = [b"%d %b" % (max(0, round((now_s - at_s) * 1000)), said) for at_s, said in page.lines]
    if page.dropped:
        lines.insert(0, b"0 " + line("warning", f"{page.dropped} lines were dropped: too many at once"))
    page.said += len(lines)
    entry = page.entry
    found = JobNote(entry.local, entry.token, entry.attempt, page.progress, page.said, lines)
    page.lines.clear()
    page.progress, page.dropped = b"", 0
    return found
