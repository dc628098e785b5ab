"""Where threads and tasks are, as text: the whole chain of awaits, no values, never more than a bound."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import TYPE_CHECKING

from microbatch.worker import child_sideline
from microbatch.worker.child_frames import frame
from microbatch.worker.child_sideline import DUMP, Sideline, ask_all, attend
from microbatch.worker.stacks import task_stacks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import pytest

SOON_S = 10.0


async def inner(gate: asyncio.Event) -> AsyncIterator[int]:
    await gate.wait()
    yield 1


async def outer(gate: asyncio.Event, secret: str) -> str:
    async for _ in inner(gate):
        pass
    return secret


async def begun(gate: asyncio.Event, secret: str = "") -> asyncio.Task[str]:
    task = asyncio.create_task(outer(gate, secret), name="mine")
    await asyncio.sleep(0)
    return task


async def test_a_task_is_told_with_its_chain_of_awaits_and_without_values() -> None:
    gate = asyncio.Event()
    task = await begun(gate, "hunter2")
    text = await asyncio.to_thread(task_stacks, asyncio.get_running_loop())
    gate.set()
    assert await task == "hunter2"
    mine = text.partition("task mine:")[2].partition("\ntask ")[0]
    assert mine.index("in outer") < mine.index("in inner") < mine.index("in wait")
    assert "hunter2" not in text


async def test_a_task_that_has_not_begun_and_a_long_list_are_told_as_such() -> None:
    gate = asyncio.Event()
    tasks = [asyncio.create_task(gate.wait(), name=f"t{number}") for number in range(50)]
    text = task_stacks(asyncio.get_running_loop(), 300)
    assert text.endswith("... cut")
    assert len(text) < 320
    gate.set()
    await asyncio.gather(*tasks)


def test_an_answer_that_comes_too_late_is_none_to_the_next_question() -> None:
    ours, theirs = socket.socketpair()
    line = Sideline(ours, 7)
    with theirs:
        theirs.sendall(frame(1, "late")[:3])
        assert ask_all([line], DUMP, timeout_s=0.01) == {}
        theirs.sendall(frame(1, "late")[3:] + frame(2, "now"))
        assert ask_all([line], DUMP, timeout_s=SOON_S) == {7: "now"}
    assert ask_all([line], DUMP, timeout_s=SOON_S) == {}
    line.close()
    line.close()
    assert ask_all([line], DUMP, timeout_s=SOON_S) == {}


def test_closing_a_line_ends_the_wait_for_its_answer() -> None:
    ours, theirs = socket.socketpair()
    line = Sideline(ours, 7)
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(ask_all([line], DUMP, timeout_s=600)))
    with theirs:
        thread.start()
        assert theirs.recv(1)  # it has asked, and waits
        line.close()
        thread.join(SOON_S)
    assert found == [{}]


async def test_a_look_that_breaks_is_no_answer_and_ends_with_the_worker(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> str:
        raise LookupError("no tasks")

    ended = threading.Event()

    def leave(code: int) -> None:
        if code == 1:
            ended.set()

    monkeypatch.setattr(child_sideline, "task_stacks", broken)
    monkeypatch.setattr("os._exit", leave)
    ours, theirs = socket.socketpair()
    line = Sideline(ours, 7)
    thread = threading.Thread(target=attend, args=(theirs, asyncio.get_running_loop()))
    thread.start()
    told = await asyncio.to_thread(ask_all, [line], DUMP, timeout_s=SOON_S)
    assert told == {}
    assert "cannot answer" in caplog.text
    line.close()
    await asyncio.to_thread(thread.join, SOON_S)
    theirs.close()
    assert ended.is_set()
