"""A server and a desk for each chaos test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.chaos.kit import Desk, desk_at
from tests.chaos.processors import QUEUE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers import Servers


@pytest.fixture
def desk(servers: Servers) -> Iterator[Desk]:
    """The queue of the chaos processors, on an empty server."""
    with desk_at(servers.url("valkey"), QUEUE) as made:
        yield made
