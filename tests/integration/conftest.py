"""Fixtures of the integration tests: an empty real server per test, and a look for what was left in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.leaks import leaked_keys
from tests.servers import ENGINES, Servers

from microbatch.console.main import main

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def redis_url(servers: Servers) -> str:
    """An empty server of the default engine."""
    return servers.url("valkey")


@pytest.fixture(params=ENGINES)
def any_redis_url(request: pytest.FixtureRequest, servers: Servers) -> str:
    """An empty server, once per engine."""
    return servers.url(request.param)


@pytest.fixture
def run_main(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., Run]:
    """Makes what runs `microbatch` in this process, in a folder of its own: its code, stdout and stderr."""

    def at(redis_url: str, *first: str) -> Run:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("MICROBATCH_REDIS_URL", redis_url)

        def call(*words: str) -> tuple[int, str, str]:
            code = main([*first, *words])
            shown = capsys.readouterr()
            return code, shown.out, shown.err

        return call

    return at


@pytest.fixture
def key_leak(redis_url: str) -> Iterator[None]:
    """Afterwards every key of ours has a time to live, or is one of a queue's permanent ones."""
    yield
    assert leaked_keys(redis_url) == []
