"""Jobs of killed workers are done again within the heartbeat limit and a second by one that lives on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.chaos.run.recovery import LIMIT_S, recovery_times_s

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers import Servers

SLACK_S = 1.5
"""Two busy cores; what is promised is measured by `make recovery`."""


@pytest.mark.long
def test_the_jobs_of_killed_workers_are_done_again_soon(servers: Servers, tmp_path: Path) -> None:
    times_s = recovery_times_s(servers.url("valkey"), 3, tmp_path)

    assert len(times_s) == 3
    assert times_s[0] > LIMIT_S * 0.6
    assert times_s[-1] < LIMIT_S + 1.0 + SLACK_S
