"""Ears: what is heard and not taken yet is bounded, and a closed client ends the waiting."""

from __future__ import annotations

import asyncio

import pytest

from microbatch.common.errors import ClientClosed
from microbatch.producer.newsroom import MESSAGES_LIMIT, Ear


async def test_an_ear_gives_what_it_heard_in_order_and_once() -> None:
    ear = Ear()
    ear.hear(b"one")
    ear.hear(b"two")

    assert await ear.wait(5) == [b"one", b"two"]
    assert await ear.wait(0.001) == []


async def test_an_ear_waits_for_the_first_message() -> None:
    ear = Ear()
    waiting = asyncio.create_task(ear.wait())
    await asyncio.sleep(0)
    assert not waiting.done()
    ear.hear(b"one")

    assert await asyncio.wait_for(waiting, 30) == [b"one"]


async def test_a_reconnection_wakes_without_a_message() -> None:
    ear = Ear()
    ear.hear(None)

    assert await asyncio.wait_for(ear.wait(), 30) == []


async def test_beyond_the_limit_the_oldest_messages_go_and_are_counted() -> None:
    ear = Ear()
    for n in range(MESSAGES_LIMIT + 3):
        ear.hear(b"%d" % n)

    heard = await ear.wait()
    assert (heard[0], len(heard), ear.missed) == (b"3", MESSAGES_LIMIT, 3)


async def test_a_closed_client_ends_the_waiting() -> None:
    ear = Ear()
    waiting = asyncio.create_task(ear.wait())
    await asyncio.sleep(0)
    ear.close()

    with pytest.raises(ClientClosed):
        await asyncio.wait_for(waiting, 30)
