"""When a worker wishes to leave: after its batches, above its memory, with a call that nothing can stop."""

from __future__ import annotations

import asyncio
import logging

import pytest

from microbatch.common.settings import WorkerSettings
from microbatch.worker.retirement import Retirement, rss_bytes

MIB = 1 << 20


def retirement(rss: int = 0, **settings: int) -> tuple[Retirement, list[str]]:
    told: list[str] = []
    return Retirement(WorkerSettings(**settings), lambda: told.append("stuck"), lambda: rss), told  # type: ignore[arg-type]


def wishes(made: Retirement) -> bool:
    return made._wished.is_set()


async def test_without_limits_it_never_wishes_to_leave() -> None:
    made, _ = retirement(rss=1 << 50)
    for _ in range(100):
        made.batch_ended()

    assert not wishes(made)


async def test_after_max_batches_it_wishes_to_leave_and_says_why() -> None:
    made, _ = retirement(max_batches=3)
    made.batch_ended()
    made.batch_ended()
    assert not wishes(made)
    made.batch_ended()

    await asyncio.wait_for(made.wait(), 1)
    assert (made.why, made.is_stuck) == ("max_batches: it has run 3", False)


@pytest.mark.parametrize(("rss", "leaves"), [(64 * MIB, False), (64 * MIB + 1, True)])
async def test_above_max_rss_bytes_it_wishes_to_leave(rss: int, leaves: bool) -> None:  # noqa: FBT001 - the case
    made, _ = retirement(rss=rss, max_rss_bytes=64 * MIB)
    made.batch_ended()

    assert wishes(made) is leaves


async def test_a_stuck_call_is_told_once_and_is_the_reason_that_counts(
    caplog: pytest.LogCaptureFixture,
) -> None:
    made, told = retirement(max_batches=1)
    made.batch_ended()
    with caplog.at_level(logging.ERROR, logger="microbatch.worker"):
        made.stuck("embed took longer than 3 s")
        made.stuck("index took longer than 3 s")

    assert (made.why, made.is_stuck, told) == ("embed took longer than 3 s", True, ["stuck"])
    assert len(caplog.records) == 1


def test_the_memory_of_this_process_is_a_plausible_number() -> None:
    before = rss_bytes()
    kept = bytearray(64 * MIB)

    assert 5 * MIB < before < rss_bytes() - len(kept) // 2
