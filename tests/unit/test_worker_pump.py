"""The pump: outcomes leave while their batch runs, many in one call, one call after another; none is left."""

from __future__ import annotations

import asyncio
import threading

import pytest
from tests.chaos.kit import make_entry

from microbatch.common.scripts import Outcome
from microbatch.worker.pump import Pump


def outcome(name: str) -> Outcome:
    return Outcome(make_entry(name), "succeeded", b"\xc0")


async def turns() -> None:
    """Let the loop do what it has to do."""
    for _ in range(10):
        await asyncio.sleep(0)


class Settler:
    """Takes outcomes; may be slow."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.running = 0
        self.free = asyncio.Event()
        self.free.set()

    async def settle(self, outcomes: list[Outcome]) -> None:
        self.running += 1
        assert self.running == 1
        await self.free.wait()
        self.calls.append([each.entry.local for each in outcomes])
        self.running -= 1


async def test_what_comes_in_one_turn_leaves_in_one_call_and_the_rest_at_the_end() -> None:
    settler = Settler()
    async with Pump(settler.settle) as pump:
        pump.put([outcome("a")])
        pump.put([outcome("b"), outcome("c")])
        await turns()
        assert settler.calls == [["a", "b", "c"]]
        pump.put([outcome("d")])
    assert settler.calls == [["a", "b", "c"], ["d"]]
    assert pump.kept == []


async def test_calls_follow_one_another() -> None:
    settler = Settler()
    settler.free.clear()
    async with Pump(settler.settle) as pump:
        pump.put([outcome("a")])
        await turns()
        pump.put([outcome("b")])
        pump.put([outcome("c")])
        await turns()
        assert settler.calls == []
        settler.free.set()
    assert settler.calls == [["a"], ["b", "c"]]


async def test_threads_may_put() -> None:
    settler = Settler()
    async with Pump(settler.settle) as pump:

        def put() -> None:
            for n in range(100):
                pump.put([outcome(str(n))])

        thread = threading.Thread(target=put)
        thread.start()
        await asyncio.to_thread(thread.join)
    assert [name for call in settler.calls for name in call] == [str(n) for n in range(100)]


async def test_without_anybody_to_settle_all_is_kept() -> None:
    async with Pump(None) as pump:
        pump.put([outcome("a")])
    assert [each.entry.local for each in pump.kept] == ["a"]


async def test_whoever_is_cancelled_waits_for_nobody() -> None:
    settler = Settler()
    settler.free.clear()

    async def run() -> None:
        async with Pump(settler.settle) as pump:
            pump.put([outcome("a")])
            await asyncio.Event().wait()

    task = asyncio.create_task(run())
    await turns()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 30)
