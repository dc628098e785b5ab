"""A worker under a service manager that we play: it hears READY, WATCHDOG and STOPPING, and no lies."""

from __future__ import annotations

import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.integration.command import LIMIT_S, Command

from microbatch.producer import Client

if TYPE_CHECKING:
    from collections.abc import Iterator

TASKS = """
import pathlib, time
from microbatch.worker import batch_processor

@batch_processor(queue="echo", max_wait_ms=0)
def echo(values):
    return values

@batch_processor(queue="wedged", max_wait_ms=0)
async def wedged(values):
    while not pathlib.Path("go on").exists():
        time.sleep(0.01)
    return values
"""
WATCHDOG_S = 1.2
VARIABLES = {"WATCHDOG_USEC": str(round(WATCHDOG_S * 1e6)), "MICROBATCH_LIVENESS_LIMIT_S": "0.6"}


class Manager:
    """The service manager's end."""

    def __init__(self, ear: socket.socket, address: str) -> None:
        self.address = address
        self._ear = ear
        self._heard: list[str] = []

    def hears(self, word: str) -> str:
        """The next note that begins so."""
        while True:
            while self._heard:
                note = self._heard.pop(0)
                if note.startswith(word):
                    return note
            self._heard = self._ear.recv(4096).decode().split("\n")

    def hears_nothing(self, word: str, within_s: float) -> bool:
        """Whether that note does not come for that long."""
        self._ear.settimeout(within_s)
        try:
            self.hears(word)
        except TimeoutError:
            return True
        finally:
            self._ear.settimeout(LIMIT_S)
        return False


@pytest.fixture
def manager() -> Iterator[Manager]:
    with (
        tempfile.TemporaryDirectory(prefix="mb-notify-") as folder,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear,
    ):
        address = str(Path(folder, "s"))
        ear.bind(address)
        ear.settimeout(LIMIT_S)
        yield Manager(ear, address)


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "tasks.py").write_text(TASKS)
    return tmp_path


def test_a_worker_says_that_it_is_ready_lives_and_leaves(
    redis_url: str, here: Path, manager: Manager
) -> None:
    variables = VARIABLES | {"NOTIFY_SOCKET": manager.address}
    with Command("worker", "tasks:echo", redis_url=redis_url, here=here, **variables) as worker:
        manager.hears("READY=1")
        assert manager.hears("STATUS=") == "STATUS=working for echo"
        for _ in range(3):
            manager.hears("WATCHDOG=1")
        worker.process.terminate()
        manager.hears("STOPPING=1")
        assert worker.end() == 0


def test_a_worker_whose_setup_fails_never_says_that_it_is_ready(
    redis_url: str, here: Path, manager: Manager
) -> None:
    (here / "tasks.py").write_text(
        "from microbatch.worker import BatchProcessor\n"
        "class Broken(BatchProcessor):\n"
        "    queue = 'q'\n"
        "    async def setup(self): raise ValueError('no model')\n"
        "    async def process(self, batch): return []\n"
    )
    variables = VARIABLES | {"NOTIFY_SOCKET": manager.address}
    with Command("worker", "tasks:Broken", redis_url=redis_url, here=here, **variables) as worker:
        assert worker.end() == 1
    assert manager.hears_nothing("READY", within_s=0.05)


def test_the_watchdog_goes_hungry_while_the_loop_is_wedged_and_not_after(
    redis_url: str, here: Path, manager: Manager
) -> None:
    variables = VARIABLES | {"NOTIFY_SOCKET": manager.address}
    with (
        Command("worker", "tasks:wedged", redis_url=redis_url, here=here, **variables) as worker,
        Client(redis_url) as client,
    ):
        manager.hears("READY=1")
        job = client.submit("wedged", 1)
        manager.hears("STATUS=the event loop has been stuck")
        assert manager.hears_nothing("WATCHDOG", within_s=WATCHDOG_S)
        (here / "go on").touch()
        manager.hears("WATCHDOG=1")
        assert job.result(timeout_s=LIMIT_S) == 1
        worker.process.terminate()
        assert worker.end() == 0
