"""What every kind of test may use: the real servers of this test process."""

from __future__ import annotations

import gc
import signal
from collections import Counter
from functools import cache
from typing import TYPE_CHECKING

import pytest
import redis.utils
from hypothesis import HealthCheck, settings
from tests.servers import Servers

if TYPE_CHECKING:
    from collections.abc import Iterator


# Where the tests run in the background of a script, SIGINT is ignored, and the commands that they start and
# interrupt would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# redis-py reads its own version from disk for each client, and tests make thousands of them.
redis.utils.get_lib_version = cache(redis.utils.get_lib_version)

# Every run tries other examples, and there are many runs. How long one takes says how busy the machine is.
settings.register_profile(
    "suite", max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("suite")


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """Real servers, started on demand, stopped with the session."""
    found = Servers()
    yield found
    found.stop()


def pytest_collection_finish() -> None:
    """Spare every later look for garbage the modules, the tests and their parameters: they stay."""
    gc.freeze()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Among several processes, the long modules go first, then those with the most tests.

    A suite ends with its last module: a minute of chaos that begins last leaves all other processes idle.
    """
    if not hasattr(config, "workerinput"):
        return

    def module(item: pytest.Item) -> str:
        return item.nodeid.partition("::")[0]

    tests = Counter(module(item) for item in items)
    long = {module(item) for item in items if item.get_closest_marker("long")}
    items.sort(key=lambda item: (module(item) not in long, -tests[module(item)]))
