"""The table of transitions, walked against a server: each step happens, and nothing leaves a final state."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from microbatch.common.states import FINAL_STATES, TRANSITIONS, JobEvent, JobState

if TYPE_CHECKING:
    from tests.conformance.bench import Bench


async def _state(bench: Bench) -> JobState:
    view = await bench.status("a")
    assert view is not None
    state = JobState(view.record[b"state"].decode())
    return JobState.RUNNING if state is JobState.QUEUED and view.worker else state


async def _bring_to(bench: Bench, state: JobState) -> None:
    if await bench.raw.exists(bench.keys.job("a")) == 0:
        await bench.submit("a")
    if state is not JobState.QUEUED:
        await bench.take("b1")
    if state in FINAL_STATES:
        await _apply(bench, JobEvent.SUCCEEDED if state is JobState.SUCCEEDED else JobEvent.FAILED)


async def _apply(bench: Bench, event: JobEvent) -> None:
    """Let the event happen, or try to."""
    if event is JobEvent.CLAIMED:
        await bench.claim("b2", "w2")
    elif event is JobEvent.HANDED_BACK:
        await bench.release("b1")
    elif event is JobEvent.TAKEN_OVER:
        await bench.die("w1")
        await bench.takeover("w1")
    elif event is JobEvent.LOST:
        await bench.raw.delete(bench.keys.lane("main"))
        await bench.status("a")
    else:
        reply = await bench.claim("b1")
        entries = getattr(reply, "entries", [])
        await bench.settle("b1", entries, succeeded=event is JobEvent.SUCCEEDED)


@pytest.mark.parametrize(("state", "event"), TRANSITIONS, ids=lambda value: value.value.replace(" ", "-"))
async def test_each_transition_of_the_table_happens(
    real_bench: Bench, state: JobState, event: JobEvent
) -> None:
    await _bring_to(real_bench, state)
    assert await _state(real_bench) is state
    await _apply(real_bench, event)
    assert await _state(real_bench) is TRANSITIONS[state, event]


@pytest.mark.parametrize("event", JobEvent, ids=lambda value: value.value.replace(" ", "-"))
@pytest.mark.parametrize("state", [JobState.SUCCEEDED, JobState.FAILED])
async def test_nothing_leads_out_of_a_final_state(
    real_bench: Bench, state: JobState, event: JobEvent
) -> None:
    await _bring_to(real_bench, state)
    before = await real_bench.record("a")
    await _apply(real_bench, event)
    assert await _state(real_bench) is state
    assert await real_bench.record("a") == before


def test_the_table_leads_from_every_open_state_to_a_final_one() -> None:
    reached = {JobState.QUEUED}
    while fresh := {to for (state, _), to in TRANSITIONS.items() if state in reached} - reached:
        reached |= fresh
    assert reached & FINAL_STATES == {JobState.SUCCEEDED, JobState.FAILED}
    assert not {state for state, _ in TRANSITIONS} & FINAL_STATES
