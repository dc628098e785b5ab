"""Jobs of killed workers are done again by one that lives on, and not before the heartbeat limit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.chaos.run.recovery import LIMIT_S, recovery_times_s

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers import Servers


@pytest.mark.long
def test_the_jobs_of_killed_workers_are_done_again(servers: Servers, tmp_path: Path) -> None:
    times_s = recovery_times_s(servers.url("valkey"), 3, tmp_path)

    assert len(times_s) == 3
    assert times_s[0] > LIMIT_S * 0.6  # what is promised is measured by `make recovery`: machines are busy
