"""What the figures were measured on, in one line.

Rule: only what moves figures, and nothing that names a machine or a person.
"""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import redis

from benchmarks.contenders.tasks import loop_name
from microbatch.common.embedded import EmbeddedServer

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["machine_line"]

_PACKAGES = ("redis", "hiredis", "msgpack", "uvloop", "saq", "huey")


def machine_line(program: Path | None) -> str:
    """Cores, interpreter, event loop, server and packages."""
    with EmbeddedServer(program=program) as server, redis.Redis.from_url(server.url) as client:
        facts: Any = client.info("server")
    name = facts.get("server_name", "redis")
    server_version = facts.get(f"{name}_version", facts["redis_version"])
    return ", ".join(
        [
            f"{_cores()} cores ({platform.system()} {platform.machine()})",
            f"{platform.python_implementation()} {platform.python_version()}",
            f"loop of asynchronous contenders: {loop_name()}",
            f"{name} {server_version} on loopback TCP, nothing on disk",
            *(f"{package} {found}" for package in _PACKAGES if (found := _version(package))),
        ]
    )


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
