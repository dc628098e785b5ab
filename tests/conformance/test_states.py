"""The table of transitions, walked against a server: each step of it happens, and no other one does."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import pytest
from tests.conformance.bench import LONG_MS, TTL_MS, job

from microbatch.common.codec import encode_error
from microbatch.common.jobs.entry import Entry
from microbatch.common.jobs.states import FINAL_STATES, TRANSITIONS, JobEvent, JobState
from microbatch.common.jobs.status import parse_status
from microbatch.common.scripts import BatchFacts, Outcome, settle

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.conformance.bench import Bench

    from microbatch.common.scripts import Ending

LATER_MS = 100_000
ERROR = encode_error("ValueError", "no")
ENDINGS: dict[JobEvent, Ending] = {
    JobEvent.SUCCEEDED: "succeeded",
    JobEvent.FAILED: "failed",
    JobEvent.RETRIED: "retry",
    JobEvent.EXPIRED: "expired",
}


async def _state(bench: Bench) -> JobState:
    view = await bench.status("a")
    assert view is not None
    return parse_status("q/a", view).state


async def _bring_to(bench: Bench, state: JobState) -> Sequence[Entry]:
    """Returns what a worker `w1` holds, or once held, as batch `b1`."""
    await bench.submit(job("a", delay_ms=LATER_MS if state is JobState.SCHEDULED else None))
    if state in {JobState.SCHEDULED, JobState.QUEUED}:
        return [Entry("main:1-1", "a", "c1", b"\xc0", 1)]  # of a worker that lost the job
    entries = await bench.take("b1")
    if state in FINAL_STATES:
        await _apply(bench, JobEvent(state.value), entries)
    return entries


async def _apply(bench: Bench, event: JobEvent, entries: Sequence[Entry]) -> None:
    """Let the event happen, or try to."""
    if event is JobEvent.CLAIMED:
        await bench.claim("b2", "w2")
    elif event is JobEvent.PROMOTED:
        await bench.make_due("a")
        await bench.claim("b2", "w2", size=9, wait_ms=LONG_MS)
    elif event is JobEvent.HANDED_BACK:
        await bench.release("b1")
    elif event is JobEvent.TAKEN_OVER:
        await bench.die("w1")
        await bench.takeover("w1")
    elif event is JobEvent.CANCELLED:
        await bench.cancel("a")
    elif event is JobEvent.LOST:
        await bench.raw.delete(bench.keys.lane("main"), bench.keys.scheduled)
        await bench.status("a")
    elif event is JobEvent.REDRIVEN:
        await bench.redrive(await _letter(bench))
    else:
        facts = BatchFacts("w1", "b1", "wait", 1, 5)
        outcomes = [Outcome(entry, ENDINGS[event], ERROR, LATER_MS) for entry in entries]
        await bench.run(settle(bench.keys, facts, outcomes, ttl_ms=TTL_MS, dead_max_length=9))
        if event is JobEvent.EXPIRED:
            await bench.pass_deadline("a")
            await bench.status("a")


async def _letter(bench: Bench) -> str:
    """The job's letter, or one that somebody forged for it."""
    for letter in await bench.letters():
        return letter.letter_id
    one = job("a")
    fields = {"dead_digest": one.digest, "v": "1", "id": "a", "payload": one.payload}
    forged: bytes = await bench.raw.xadd(bench.keys.dead, fields)
    return forged.decode()


@pytest.mark.parametrize(
    ("state", "event"), list(product(JobState, JobEvent)), ids=lambda value: value.value.replace(" ", "-")
)
async def test_each_event_leads_where_the_table_says_or_changes_nothing(
    real_bench: Bench, state: JobState, event: JobEvent
) -> None:
    entries = await _bring_to(real_bench, state)
    assert await _state(real_bench) is state
    before = await real_bench.record("a")
    await _apply(real_bench, event, entries)
    assert await _state(real_bench) is TRANSITIONS.get((state, event), state)
    if state.is_final and event is not JobEvent.REDRIVEN:
        after = await real_bench.record("a")
        after.pop("expires_ms", None)  # moved by the test itself
        before.pop("expires_ms", None)
        assert after == before


def test_the_table_leads_from_every_open_state_to_every_final_one() -> None:
    for start in set(JobState) - FINAL_STATES:
        reached = {start}
        while fresh := {to for (state, _), to in TRANSITIONS.items() if state in reached} - reached:
            reached |= fresh
        assert reached >= FINAL_STATES


def test_only_an_operator_leads_out_of_a_final_state_and_only_out_of_failure() -> None:
    leaving = {(state, event) for state, event in TRANSITIONS if state.is_final}
    assert leaving == {(JobState.FAILED, JobEvent.REDRIVEN)}
