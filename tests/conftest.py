"""What every kind of test may use: the real servers of this test process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers import Servers


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """Real servers, started on demand, stopped with the session."""
    found = Servers()
    yield found
    found.stop()
