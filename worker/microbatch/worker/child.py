"""A child process as its worker sees it: started, asked, ended.

Rule: one request at a time. A child that died, or was killed, raises `ChildGone` and is never used again.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
import time
from typing import TYPE_CHECKING, Any

from microbatch.common.errors import ProcessorError
from microbatch.worker.child_frames import LENGTH_BYTES, NOTES, PARTS, frame, message
from microbatch.worker.child_log import levels_here, relay
from microbatch.worker.child_sideline import LEVELS, Sideline

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Child", "ChildGone"]

TEARDOWN_S = 10.0
LAST_WORDS_S = 0.2


class ChildGone(Exception):
    """The process has ended; its text says how."""


class Child:
    """One child process; make it with `start`."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        line: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        sideline: Sideline,
        log: asyncio.Task[None],
    ) -> None:
        self._process = process
        self._reader, self._writer = line
        self.sideline = sideline
        self._log = log
        # One wait for all: the loop keeps each until the process ends, also those that were given up.
        self._ended = asyncio.ensure_future(process.wait())
        self.batches = 0

    @classmethod
    async def start(cls, reference: tuple[str, str], options: Mapping[str, object]) -> Child:
        """Start a process and set the processor up in it.

        Args:
            reference: The module and the name of the processor.
            options: The settings that its runs need.

        Raises:
            ProcessorError: It cannot be imported, its `setup` failed, or the process died over it.
        """
        ours, theirs = socket.socketpair()
        our_log, their_log = socket.socketpair()
        our_side, their_side = socket.socketpair()
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "microbatch.worker.child_main",
                str(theirs.fileno()),
                str(their_side.fileno()),
                str(their_log.fileno()),
                *reference,
                pass_fds=(theirs.fileno(), their_side.fileno(), their_log.fileno()),
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, ["", *sys.path])) or ""},
            )
        except BaseException:
            ours.close()
            our_log.close()
            our_side.close()
            raise
        finally:
            theirs.close()
            their_log.close()
            their_side.close()
        log = asyncio.create_task(relay(our_log), name="microbatch-child-log")
        sideline = Sideline(our_side, process.pid)
        child = cls(process, await asyncio.open_connection(sock=ours), sideline, log)
        try:
            levels = levels_here()
            state, why = await child.ask(options, levels)
        except ChildGone as gone:
            raise ProcessorError(f"the child process for {':'.join(reference)} {gone}") from gone
        except BaseException:
            await child.kill()
            raise
        if state != "ready":
            await child.kill()
            raise ProcessorError(f"in a child process: {why}")
        if levels_here() != levels:  # an order came meanwhile
            child.sideline.ask(LEVELS, levels_here(), until_s=time.monotonic() + LAST_WORDS_S)
        return child

    async def ask(self, *values: Any, hear: Callable[[str, list[Any]], None] | None = None) -> list[Any]:
        """Send a message and wait for the answer; `hear` gets what it says until then.

        Raises:
            ChildGone: The process ended before it answered.
        """
        answer = asyncio.ensure_future(self._ask(values, hear))
        try:
            # Not the line alone: a process that the child forked may keep it open.
            await asyncio.wait((answer, self._ended), return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():  # what it said before it ended may still be on its way
                await asyncio.wait((answer,), timeout=LAST_WORDS_S)
            if answer.done() and answer.exception() is None:
                return answer.result()
        finally:
            answer.cancel()
            await asyncio.gather(answer, return_exceptions=True)
        await self.kill()
        code = self._process.returncode
        raise ChildGone(
            f"was killed by signal {-code}" if code is not None and code < 0 else f"ended with {code}"
        )

    async def _ask(self, values: tuple[Any, ...], hear: Callable[[str, list[Any]], None] | None) -> list[Any]:
        self._writer.write(frame(*values))
        await self._writer.drain()
        while True:
            length = int.from_bytes(await self._reader.readexactly(LENGTH_BYTES), "big")
            said = message(await self._reader.readexactly(length))
            if said[0] not in {NOTES, PARTS}:
                return said
            if hear is not None:
                hear(*said)

    def tell(self, *values: Any) -> None:
        """Send a message that is not answered."""
        if self._process.returncode is None and not self._writer.is_closing():
            self._writer.write(frame(*values))

    async def leave(self) -> None:
        """Let it tear its processor down, and end it."""
        self._writer.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), TEARDOWN_S)
        await self.kill()

    async def kill(self) -> None:
        """End it at once; harmless when repeated."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        await self._process.wait()
        self._writer.close()
        await asyncio.wait((self._log,), timeout=LAST_WORDS_S)  # what it forked may keep the line open
        self._log.cancel()
        self.sideline.close()

    def kill_soon(self) -> None:
        """End it without waiting: for a worker that leaves in haste."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
