"""Lines as they come: in order, complete, early, and never far ahead."""

from __future__ import annotations

import asyncio
import os
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from microbatch.console import job_lines
from microbatch.console.exits import UsageError
from microbatch.console.job_lines import JobLines

if TYPE_CHECKING:
    from pathlib import Path


async def read_all(lines: JobLines) -> list[bytes]:
    return [line async for chunk in lines.chunks() for line in chunk]


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lines=st.lists(st.binary(max_size=20).map(lambda line: line.replace(b"\n", b"")), max_size=20),
    read_bytes=st.integers(1, 8),
)
def test_lines_come_in_order_and_whole_wherever_reads_end(
    lines: list[bytes], read_bytes: int, tmp_path: Path
) -> None:
    path = tmp_path / "jobs.jsonl"
    path.write_bytes(b"\n".join(lines))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(job_lines, "READ_BYTES", read_bytes)
        assert asyncio.run(read_all(JobLines(str(path)))) == (lines or [b""])


async def test_chunks_have_a_bounded_number_of_lines(tmp_path: Path) -> None:
    path = tmp_path / "jobs.jsonl"
    path.write_bytes(b"1\n" * 1_000)
    lines = JobLines(str(path))
    assert lines.size_bytes == 2_000
    sizes = [len(chunk) async for chunk in lines.chunks()]
    assert max(sizes) == job_lines.CHUNK_LINES


async def test_a_line_from_a_pipe_comes_before_the_next_one_is_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reads, writes = os.pipe()
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(fileno=lambda: reads))
    lines = JobLines("-")
    assert lines.size_bytes is None
    chunks = aiter(lines.chunks())
    os.write(writes, b"1\n2\n")
    assert await asyncio.wait_for(anext(chunks), 30) == [b"1", b"2"]
    os.write(writes, b"3")
    os.close(writes)
    assert await asyncio.wait_for(anext(chunks), 30) == [b"3"]
    assert await anext(chunks, None) is None
    os.close(reads)


async def test_nothing_is_read_far_ahead_of_who_takes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_lines, "READ_BYTES", 10)
    path = tmp_path / "jobs.jsonl"
    path.write_bytes(b"1\n" * 1_000)
    lines = JobLines(str(path))
    chunks = aiter(lines.chunks())
    await anext(chunks)
    # The first chunk is still held, one more may wait, and with the next one the reader stands.
    assert os.lseek(lines._file, 0, os.SEEK_CUR) <= 10 * (job_lines.READS_AHEAD + 1)
    assert len([line async for chunk in chunks for line in chunk]) == 996


def test_a_file_that_cannot_be_opened_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read .*nothing: No such file"):
        JobLines(str(tmp_path / "nothing"))


async def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Is a directory"):
        await read_all(JobLines(str(tmp_path)))
