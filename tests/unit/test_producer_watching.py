"""What a listener makes of messages about a job whose record is gone."""

from __future__ import annotations

import asyncio

from microbatch.common.keys import QueueKeys
from microbatch.producer.newsroom import Ear
from microbatch.producer.watching import last_word


def message(event: bytes) -> bytes:
    return b"1:a" + b"%d:%b" % (len(event), event)


async def test_the_end_of_a_job_is_heard_behind_messages_of_what_came_before_it() -> None:
    ear = Ear()
    ear.hear(message(b"claimed 1700000000000 1"))
    hearing = asyncio.create_task(last_word(QueueKeys("q"), ear))
    await asyncio.sleep(0)
    await asyncio.sleep(0)  # the first message is taken, and is not the end
    assert not hearing.done()

    ear.hear(message(b"succeeded 1700000000005 1"))

    end = await asyncio.wait_for(hearing, 30)
    assert end is not None
    assert (end.id, end.event) == ("q/a", "succeeded")
