"""What every kind of test may use: the real servers of this test process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.servers import Servers

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """Real servers, started on demand, stopped with the session."""
    found = Servers()
    yield found
    found.stop()
