"""One queue on one engine per test; time moves only where a test writes an older one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.conformance.bench import Bench
from tests.conformance.engines import ALL, REAL, Engine, FakeEngine, RealEngine, mended_fakeredis

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.servers import Servers


def _engine(name: str, servers: Servers) -> Engine:
    return FakeEngine() if name == "fakeredis" else RealEngine(name, servers)


@pytest.fixture(params=ALL)
async def bench(request: pytest.FixtureRequest, servers: Servers) -> AsyncIterator[Bench]:
    """A queue on each of the three engines."""
    with mended_fakeredis():
        engine = _engine(request.param, servers)
        yield Bench(engine)
        await engine.close()


@pytest.fixture(params=REAL)
async def real_bench(request: pytest.FixtureRequest, servers: Servers) -> AsyncIterator[Bench]:
    """A queue on each real server."""
    engine = _engine(request.param, servers)
    yield Bench(engine)
    await engine.close()
