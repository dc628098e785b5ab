"""The protocol against a model: random walks over its operations, checked after every step.

The model knows for every accepted job where it is: undelivered, held by one live batch, scheduled, lost, or
final with one outcome per run. Derandomized: every run walks the same ways; a failure prints its steps.
`make walks` (`MODEL_WALKS`, `MODEL_STEPS`) walks others each time, more of them and further.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from tests.conformance.engines import REAL
from tests.conformance.walk_control import ControlSteps
from tests.conformance.walk_daily import DailySteps
from tests.conformance.walk_failover import FailoverSteps
from tests.conformance.walk_limits import LimitSteps
from tests.conformance.walk_trouble import TroubleSteps

if TYPE_CHECKING:
    from tests.conformance.walk import Walk
    from tests.servers import Servers


WALKS_VARIABLE, STEPS_VARIABLE = "MODEL_WALKS", "MODEL_STEPS"


class HappyWalk(DailySteps):
    """Only what happens every day: many steps far."""


class ProtocolWalk(TroubleSteps):
    """Everything but operators who hold the queue up."""


class OperatedWalk(ControlSteps):
    """Everything but failovers and limits of the fleet."""


class LimitedWalk(LimitSteps):
    """Everything but failovers."""


class FailedOverWalk(FailoverSteps):
    """Everything but limits of the fleet."""


WALKS = [(HappyWalk, 6), (ProtocolWalk, 14), (OperatedWalk, 10), (LimitedWalk, 14), (FailedOverWalk, 10)]


@pytest.mark.long
@pytest.mark.parametrize("engine", REAL)
@pytest.mark.parametrize(("walk", "walks"), WALKS)
def test_random_walks_keep_every_promise(servers: Servers, engine: str, walk: type[Walk], walks: int) -> None:
    explored = os.environ.get(WALKS_VARIABLE)
    walk.url = servers.url(engine)
    run_state_machine_as_test(
        walk,
        settings=settings(
            max_examples=int(explored or walks),
            phases=(Phase.generate, Phase.shrink),
            stateful_step_count=int(os.environ.get(STEPS_VARIABLE, "50")),
            deadline=None,
            derandomize=explored is None,
            database=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
