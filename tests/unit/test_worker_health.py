"""What makes a worker alive and ready, with agents and times of the test's own."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from microbatch.worker.health import Health

START_S = 1000.0


def an_agent(**claimer: Any) -> SimpleNamespace:
    known = {"asking_since_s": None, "has_ended": False, "takes_work": True}
    return SimpleNamespace(
        settings=SimpleNamespace(queue="q"),
        claimer=SimpleNamespace(**(known | claimer)),
        runner=SimpleNamespace(blocks_loop=True, due_s=list),
    )


def started(*agents: SimpleNamespace, reached_s: float | None = START_S) -> Health:
    health = Health(liveness_limit_s=20, command_timeout_s=5, heartbeat_limit_s=10)
    health.started(list(agents) or [an_agent()], SimpleNamespace(reached_s=reached_s), START_S)  # type: ignore[arg-type, list-item] # fakes
    return health


def test_while_it_starts_it_is_alive_and_not_ready() -> None:
    health = Health(liveness_limit_s=20, command_timeout_s=5, heartbeat_limit_s=10)
    health.ticked(0.0)
    assert health.why_not_live(START_S) == []
    assert health.why_not_ready(START_S) == health.why_not_started() != []


def test_once_it_works_it_is_all_three() -> None:
    health = started()
    assert health.why_not_started() == health.why_not_live(START_S) == health.why_not_ready(START_S) == []


def test_a_loop_that_does_not_turn_is_not_alive_after_the_limit() -> None:
    health = started()
    assert health.why_not_live(START_S + 19) == []
    assert health.why_not_live(START_S + 21) == ["the event loop has been stuck for 21 s"]
    health.ticked(START_S + 21)
    assert health.why_not_live(START_S + 22) == []


def test_a_batch_may_hold_the_loop_until_its_time_out() -> None:
    agent = an_agent()
    agent.runner.due_s = lambda: [START_S + 60]
    health = started(agent)
    assert health.why_not_live(START_S + 50) == []
    assert health.why_not_live(START_S + 61) != []


def test_a_claim_that_never_answers_is_not_alive() -> None:
    health = started(an_agent(asking_since_s=START_S))
    health.ticked(START_S + 21)
    assert health.why_not_live(START_S + 19) == []
    assert health.why_not_live(START_S + 21) == ["queue q: a claim has been under way for 21 s"]


def test_a_claim_loop_that_ended_by_itself_is_not_alive() -> None:
    assert started(an_agent(has_ended=True)).why_not_live(START_S) == ["queue q: the claim loop has ended"]
    assert started(an_agent(has_ended=True, takes_work=False)).why_not_live(START_S) == []


@pytest.mark.parametrize("reached_s", [None, START_S - 11])
def test_without_redis_it_is_alive_and_not_ready(reached_s: float | None) -> None:
    health = started(reached_s=reached_s)
    assert health.why_not_live(START_S) == []
    assert health.why_not_ready(START_S) == ["Redis has not answered its last heartbeat"]


def test_one_that_takes_no_work_is_alive_and_not_ready() -> None:
    health = started(an_agent(), an_agent(takes_work=False))
    assert health.why_not_live(START_S) == []
    assert health.why_not_ready(START_S) == ["it takes no work: it is quiet, or drains"]
