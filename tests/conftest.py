"""What every kind of test may use: the real servers of this test process."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest
from tests.servers import Servers

if TYPE_CHECKING:
    from collections.abc import Iterator


# Where the tests run in the background of a script, SIGINT is ignored, and the commands that they start and
# interrupt would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """Real servers, started on demand, stopped with the session."""
    found = Servers()
    yield found
    found.stop()
