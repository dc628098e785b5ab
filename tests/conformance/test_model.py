"""The protocol against a model: random walks over its operations, checked after every step.

The model knows for every accepted job where it is: undelivered, held by one live batch, scheduled, lost, or
final with one outcome per run. Derandomized: every run walks the same ways; a failure prints its steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from tests.conformance.engines import REAL
from tests.conformance.walk_daily import DailySteps
from tests.conformance.walk_trouble import TroubleSteps

if TYPE_CHECKING:
    from tests.conformance.walk import Walk
    from tests.servers import Servers


class HappyWalk(DailySteps):
    """Only what happens every day: many steps far."""


class ProtocolWalk(TroubleSteps):
    """Everything."""


@pytest.mark.long
@pytest.mark.parametrize("engine", REAL)
@pytest.mark.parametrize(("walk", "walks"), [(HappyWalk, 6), (ProtocolWalk, 25)])
def test_random_walks_keep_every_promise(servers: Servers, engine: str, walk: type[Walk], walks: int) -> None:
    walk.url = servers.url(engine)
    run_state_machine_as_test(
        walk,
        settings=settings(
            max_examples=walks,
            phases=(Phase.generate, Phase.shrink),
            stateful_step_count=50,
            deadline=None,
            derandomize=True,
            database=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
