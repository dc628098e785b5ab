"""Suspects run while nothing else runs in the process."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from microbatch.worker.isolation import Isolation


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_batches_run_together_and_a_suspect_waits_for_them_and_they_for_it() -> None:
    isolation, log = Isolation(), []
    release = {name: asyncio.Event() for name in ("a", "b", "suspect", "c")}

    async def run(name: str, *, alone: bool = False) -> None:
        async with isolation.alone() if alone else isolation.together():
            log.append(f"+{name}")
            await release[name].wait()
            log.append(f"-{name}")

    tasks = [asyncio.create_task(run("a")), asyncio.create_task(run("b"))]
    await turns()
    tasks.append(asyncio.create_task(run("suspect", alone=True)))
    await turns()
    tasks.append(asyncio.create_task(run("c")))
    await turns()
    assert (log, isolation.is_wanted) == (["+a", "+b"], True)
    for name in ("a", "b", "suspect", "c"):
        release[name].set()
        await turns()
    await asyncio.gather(*tasks)
    assert log == ["+a", "+b", "-a", "-b", "+suspect", "-suspect", "+c", "-c"]
    assert not isolation.is_wanted


async def test_a_suspect_that_is_cancelled_while_it_waits_lets_the_others_go_on() -> None:
    isolation, told = Isolation(), list[bool]()
    isolation.on_change(lambda: told.append(isolation.is_wanted))
    async with isolation.together():
        waiting = asyncio.create_task(_alone(isolation))
        await turns()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert (isolation.is_wanted, told) == (False, [True, False])
        async with isolation.together():
            pass


async def _alone(isolation: Isolation) -> None:
    async with isolation.alone():
        pass


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5), st.integers(0, 3)), max_size=12))
def test_nothing_ever_runs_beside_a_suspect_and_everything_ends(plan: list[tuple[bool, int, int]]) -> None:
    running: set[int] = set()
    suspects: set[int] = set()

    async def one(isolation: Isolation, number: int, *, alone: bool, after: int, turns_: int) -> None:
        await turns(after)
        async with isolation.alone() if alone else isolation.together():
            assert not suspects
            assert not (alone and running)
            (suspects if alone else running).add(number)
            await turns(turns_)
            (suspects if alone else running).discard(number)

    async def all_of_them() -> None:
        isolation = Isolation()
        tasks = (
            one(isolation, number, alone=alone, after=after, turns_=length)
            for number, (alone, after, length) in enumerate(plan)
        )
        await asyncio.wait_for(asyncio.gather(*tasks), 30)
        assert not isolation.is_wanted

    asyncio.run(all_of_them())
