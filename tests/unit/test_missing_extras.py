"""Without its extra, a feature says what to install, and nothing else suffers."""

from __future__ import annotations

import sys

import pytest

from microbatch.common.errors import SettingsError
from microbatch.common.settings import ClientSettings, WorkerSettings
from microbatch.producer import AsyncClient
from microbatch.worker import Worker, batch_processor
from microbatch.worker.observation import Observation

USES_EXTRAS = {"microbatch.common.tracing", "microbatch.worker.metrics", "microbatch.worker.tracing"}


@batch_processor(queue="q")
def echo(values: list[int]) -> list[int]:
    return values


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    for name in list(sys.modules):
        if name.startswith(request.param) or name in USES_EXTRAS:
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("microbatch.common.tracing", raising=False)  # another test may have imported it
    monkeypatch.setitem(sys.modules, request.param, None)


@pytest.mark.parametrize("without", ["opentelemetry"], indirect=True)
def test_tracing_without_opentelemetry_is_refused_at_once(without: None) -> None:
    with pytest.raises(SettingsError, match=r"microbatch\[tracing\]"):
        AsyncClient(settings=ClientSettings(tracing=True))
    with pytest.raises(SettingsError, match=r"microbatch\[tracing\]"):
        Worker([echo], settings=WorkerSettings(tracing=True))
    assert Worker([echo], settings=WorkerSettings()).queues == ["q"]


@pytest.mark.parametrize("without", ["prometheus_client"], indirect=True)
async def test_pages_without_the_metrics_library_still_tell_health(without: None) -> None:
    observation = Observation(WorkerSettings(monitoring_address="0"), [], "w")
    observation.open()
    try:
        pages = observation._pages
        assert pages is not None
        assert {path: page("").status for path, page in pages._server.pages.items()} == {
            "/livez": 200,
            "/readyz": 503,
            "/startupz": 503,
            "/metrics": 501,
        }
    finally:
        await observation.close()
