"""Fixtures of the compatibility tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.servers import Servers


@pytest.fixture
def redis_url(servers: Servers) -> str:
    """An empty server of the default engine."""
    return servers.url("valkey")
