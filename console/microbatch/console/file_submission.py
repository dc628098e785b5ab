"""Submit a stream of lines, and tell what became of each, in their order.

Rule: one task reads and submits, another one waits and writes; the queue between them bounds how many jobs
are on their way, so that a file of any length needs the same memory. A line that is no job costs its
neighbours nothing. What is written is complete lines.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from microbatch.common.errors import (
    DuplicateJobId,
    JobError,
    PayloadError,
    ProtocolError,
    QueueFull,
    ResultTimeout,
    ServerFull,
    SubmitTimeout,
    TooManyBatchKeys,
)
from microbatch.console.json_values import BadJson, json_text, parse_json
from microbatch.console.outcomes import error_line, result_line

if TYPE_CHECKING:
    from microbatch.common.clock import Deadline
    from microbatch.console.job_lines import JobLines
    from microbatch.console.progress import Advance
    from microbatch.producer import AsyncClient, AsyncJobHandle, SubmitOptions

__all__ = ["FileSubmission", "Manner"]

MOST_JOBS_ON_THE_WAY = 2048
_OF_THIS_JOB_ONLY = (
    PayloadError,
    QueueFull,
    DuplicateJobId,
    TooManyBatchKeys,
    ServerFull,
    JobError,
    ResultTimeout,
    ProtocolError,
)


@dataclass(frozen=True, slots=True)
class Manner:
    """How to submit: where, by when, whether to wait or to write JSON, and what is said of every job."""

    queue: str
    deadline: Deadline
    wait: bool
    json: bool
    options: SubmitOptions


@dataclass(frozen=True, slots=True)
class _Line:
    size_bytes: int
    told: AsyncJobHandle | Exception


class FileSubmission:
    """One run over a stream of lines.

    Args:
        client: Who submits; open.
        manner: How.
        output: Where the answers go.
        advance: Told after each answer.

    Attributes:
        done: Lines that were answered.
        failed: Lines among them without a result (or, where nobody waits, without a job).
        timed_out: Whether the deadline ended it.
    """

    def __init__(self, client: AsyncClient, manner: Manner, output: TextIO, advance: Advance) -> None:
        self._client = client
        self._manner = manner
        self._output = output
        self._advance = advance
        self._on_the_way: asyncio.Queue[_Line | None] = asyncio.Queue(maxsize=MOST_JOBS_ON_THE_WAY)
        self._done_bytes = 0
        self.done = 0
        self.failed = 0
        self.timed_out = False

    async def run(self, lines: JobLines) -> None:
        """Submit every line and write every answer.

        Raises:
            MicrobatchError: Redis cannot be reached any more, or refuses everything.
            OSError: The answers cannot be written.
        """
        reading = asyncio.create_task(self._submit_all(lines), name="microbatch-submit-lines")
        writing = asyncio.create_task(self._answer_all(), name="microbatch-answer-lines")
        try:
            await asyncio.wait((reading, writing), return_when=asyncio.FIRST_EXCEPTION)
            if not writing.done() and not self._manner.wait:
                await self._on_the_way.join()  # the ids of what was accepted are not lost
        finally:
            reading.cancel()
            writing.cancel()
            await asyncio.gather(reading, writing, return_exceptions=True)
            self._output.flush()
        for task in (writing, reading):
            if not task.cancelled():
                task.result()

    async def _submit_all(self, lines: JobLines) -> None:
        chunks = aiter(lines.chunks())
        while True:
            try:
                # Only for the reading: a submit keeps its own time, so that its outcome is known.
                async with asyncio.timeout(self._manner.deadline.left_s()):
                    chunk = await anext(chunks, None)
            except TimeoutError:
                self.timed_out = True
                break
            if chunk is None:
                break
            for line in await self._submit(chunk):
                await self._on_the_way.put(line)
        await self._on_the_way.put(None)

    async def _submit(self, chunk: list[bytes]) -> list[_Line]:
        """Submit lines; those of one call share round trips."""
        texts = [text for text in chunk if text.strip()]
        told = await asyncio.gather(*map(self._submit_one, texts))
        return [_Line(len(text) + 1, each) for text, each in zip(texts, told, strict=True)]

    async def _submit_one(self, text: bytes) -> AsyncJobHandle | Exception:
        left_s = self._manner.deadline.left_s()
        try:
            options: SubmitOptions = {
                **self._manner.options,
                "on_full": "raise" if left_s is None else "wait",
                "timeout_s": left_s,
            }
            payload = parse_json(text.decode("utf-8-sig"))
            return await self._client.submit(self._manner.queue, payload, **options)
        except SubmitTimeout as error:
            self.timed_out = True
            return error
        except UnicodeDecodeError as error:
            return PayloadError(f"not UTF-8: {error.reason} at byte {error.start + 1}")
        except BadJson as error:
            return PayloadError(str(error))
        except _OF_THIS_JOB_ONLY as error:
            return error

    async def _answer_all(self) -> None:
        while (line := await self._on_the_way.get()) is not None:
            answer = await self._answer(line.told)
            self._output.write(answer + "\n")
            self.done += 1
            self._done_bytes += line.size_bytes
            self._advance(self._done_bytes, self.done, self.failed)
            self._on_the_way.task_done()
            if self._on_the_way.empty():
                self._output.flush()

    async def _answer(self, told: AsyncJobHandle | Exception) -> str:
        if isinstance(told, Exception):
            self.failed += 1
            return json_text(error_line(None, told))
        if self._manner.wait:
            outcome = await self._outcome(told)
            try:
                return json_text(outcome)
            except BadJson as error:
                self.failed += 1
                return json_text(error_line(told.id, error))
        if self._manner.json:
            return json_text({"id": told.id, "queue": told.queue, "result_key": told.result_key})
        return told.id

    async def _outcome(self, job: AsyncJobHandle) -> dict[str, Any]:
        try:
            return result_line(job.id, await job.result(timeout_s=self._manner.deadline.left_s()))
        except ResultTimeout as error:
            self.timed_out = True
            self.failed += 1
            return error_line(job.id, error)
        except _OF_THIS_JOB_ONLY as error:
            self.failed += 1
            return error_line(job.id, error)
