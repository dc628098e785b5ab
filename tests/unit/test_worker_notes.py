"""Notes: saying costs nothing and is bounded; what was said is written together and in order."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest
from tests.chaos.kit import make_entry

from microbatch.worker.batch import Job
from microbatch.worker.notes import LINE_LIMIT_BYTES, PENDING_LINES, Notes, line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from microbatch.common.scripts import JobNote


class Paper:
    """Takes what is written; may be slow."""

    def __init__(self) -> None:
        self.calls: list[list[JobNote]] = []
        self.written = asyncio.Event()
        self.free = asyncio.Event()
        self.free.set()

    async def write(self, notes: Sequence[JobNote]) -> None:
        await self.free.wait()
        self.calls.append(list(notes))
        self.written.set()


async def test_what_is_said_about_several_jobs_is_written_in_one_call() -> None:
    paper = Paper()
    notes = Notes(paper.write, clock=lambda: 5.0)
    a, b = make_entry("a"), make_entry("b", sequence=1)
    notes.log(a, line("info", "one"))
    notes.log(b, line("error", "two"))
    notes.log(a, line("info", "three"))
    notes.progress(a, 0.1, "early")
    notes.progress(a, 0.25, "later")
    await asyncio.wait_for(paper.written.wait(), 30)
    notes.stop()

    ((first, second),) = paper.calls
    assert (first.local, first.token, first.attempt) == ("a", a.token, 1)
    assert (first.lines, first.upto, first.progress) == ([b"0 info one", b"0 info three"], 2, b"0.25 later")
    assert (second.lines, second.upto, second.progress) == ([b"0 error two"], 1, b"")


async def test_a_flush_writes_at_once_and_lines_are_counted_on() -> None:
    paper = Paper()
    notes = Notes(paper.write)
    entry = make_entry()
    notes.log(entry, line("info", "one"))
    await notes.flush()
    notes.log(entry, line("info", "two"))
    await notes.flush()
    await notes.flush()
    notes.stop()

    assert [note.upto for call in paper.calls for note in call] == [1, 2]


async def test_a_flush_waits_for_what_is_being_written() -> None:
    paper = Paper()
    paper.free.clear()
    notes = Notes(paper.write)
    notes.log(make_entry(), line("info", "one"))
    first = asyncio.create_task(notes.flush())
    second = asyncio.create_task(notes.flush())
    await asyncio.sleep(0)
    assert not second.done()
    paper.free.set()
    await asyncio.gather(first, second)
    notes.stop()

    assert len(paper.calls) == 1


async def test_threads_may_say_what_they_like() -> None:
    paper = Paper()
    notes = Notes(paper.write)
    entries = [make_entry(f"j{n}", sequence=n) for n in range(4)]

    def talk(index: int) -> None:
        for n in range(200):
            notes.log(entries[index], line("info", str(n)))

    threads = [threading.Thread(target=talk, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        await asyncio.to_thread(thread.join)
    await notes.flush()
    notes.stop()

    said: dict[str, list[bytes]] = {}
    for call in paper.calls:
        for note in call:
            said.setdefault(note.local, []).extend(note.lines)
    for lines in said.values():
        assert [int(each.split()[-1]) for each in lines] == list(range(200))
    assert len(said) == 4


async def test_a_loop_that_talks_without_end_is_bounded_and_the_log_says_so() -> None:
    paper = Paper()
    notes = Notes(paper.write)
    entry = make_entry()
    for n in range(PENDING_LINES + 5):
        notes.log(entry, line("info", str(n)))
    await notes.flush()
    notes.stop()

    ((note,),) = paper.calls
    assert len(note.lines) == PENDING_LINES + 1
    assert note.lines[0] == b"0 warning 5 lines were dropped: too many at once"
    assert note.lines[-1].endswith(b" %d" % (PENDING_LINES + 4))


async def test_after_the_end_nothing_is_kept() -> None:
    paper = Paper()
    notes = Notes(paper.write)
    notes.stop()
    notes.log(make_entry(), line("info", "late"))
    notes.progress(make_entry(), 1.0, "late")
    await notes.flush()

    assert paper.calls == []


async def test_what_another_process_said_keeps_its_age() -> None:
    paper = Paper()
    notes = Notes(paper.write, clock=lambda: 100.0)
    notes.relay(make_entry(), b"0.5 half a page", [b"1500 info said a while ago"])
    await notes.flush()
    notes.stop()

    ((note,),) = paper.calls
    assert (note.lines, note.progress) == ([b"1500 info said a while ago"], b"0.5 half a page")


def test_a_line_is_cut_where_a_character_ends() -> None:
    said = line("info", "ä" * LINE_LIMIT_BYTES + "\ud800")

    assert len(said) == LINE_LIMIT_BYTES + len("info ")
    assert said.decode() == "info " + "ä" * (LINE_LIMIT_BYTES // 2)


def test_a_job_of_a_unit_test_takes_notes_and_forgets_them() -> None:
    job = Job("q", make_entry(), None, {})
    job.log.info("nobody listens")
    job.log.info("%d", "no number")
    job.progress(0.5, "half")
    with pytest.raises(ValueError, match="NaN"):
        job.progress(float("nan"))
