"""What the service manager hears, and when the watchdog goes hungry."""

from __future__ import annotations

import socket
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from microbatch.worker.notifier import Notifier

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def manager(*, abstract: bool = False) -> Iterator[tuple[str, socket.socket]]:
    """A service manager's socket, and its address as `NOTIFY_SOCKET` spells it."""
    with (
        tempfile.TemporaryDirectory(prefix="mb-notify-") as folder,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear,
    ):
        path = str(Path(folder, "s"))
        ear.bind(f"\0{path}" if abstract else path)
        ear.setblocking(False)
        yield f"@{path}" if abstract else path, ear


def heard(ear: socket.socket) -> list[str]:
    """Every note until now."""
    notes = []
    while True:
        try:
            notes += ear.recv(4096).decode().split("\n")
        except BlockingIOError:
            return notes


@pytest.mark.parametrize("abstract", [False, True])
def test_it_says_that_the_worker_is_ready_and_that_it_leaves_once(abstract: bool) -> None:  # noqa: FBT001 - a column
    with manager(abstract=abstract) as (address, ear):
        notifier = Notifier(address)
        notifier.ready(["embed", "index"])
        notifier.stopping()
        notifier.stopping()
        assert heard(ear) == ["READY=1", "STATUS=working for embed, index", "STOPPING=1", "STATUS=draining"]


def test_the_watchdog_is_fed_three_times_within_its_limit() -> None:
    with manager() as (address, ear):
        notifier = Notifier(address, watchdog_s=30.0)
        assert notifier.wants_food(100.0)
        notifier.feed(100.0, [])
        assert not notifier.wants_food(109.9)
        assert notifier.wants_food(110.0)
        assert heard(ear) == ["WATCHDOG=1"]


def test_the_watchdog_goes_hungry_while_something_is_wrong_and_is_told_why_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with manager() as (address, ear):
        notifier = Notifier(address, watchdog_s=3.0)
        notifier.feed(0.0, [])
        heard(ear)
        for now_s in (1.0, 2.0):
            notifier.feed(now_s, ["the loop is stuck"])
        assert heard(ear) == ["STATUS=the loop is stuck"]
        assert caplog.text.count("the watchdog is not fed: the loop is stuck") == 1
        notifier.feed(3.0, [])
        assert heard(ear) == ["WATCHDOG=1"]


@pytest.mark.parametrize(
    ("environment", "watchdog"),
    [
        ({"WATCHDOG_USEC": "15000000"}, True),
        ({"WATCHDOG_USEC": "15000000", "WATCHDOG_PID": "7"}, True),
        ({"WATCHDOG_USEC": "15000000", "WATCHDOG_PID": "8"}, False),  # it was meant for our parent
        ({"WATCHDOG_USEC": "0"}, False),
        ({"WATCHDOG_USEC": "soon"}, False),
        ({}, False),
    ],
)
def test_the_environment_says_whether_there_is_a_watchdog(
    environment: dict[str, str],
    watchdog: bool,  # noqa: FBT001 - a column
) -> None:
    assert Notifier.from_environment(environment, pid=7).wants_food(0.0) is watchdog


def test_nobody_is_told_where_nobody_listens(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    Notifier().ready(["q"])
    assert caplog.text == ""
    notifier = Notifier(str(tmp_path / "gone"))
    notifier.ready(["q"])
    notifier.stopping()
    assert caplog.text.count("the service manager does not listen") == 1
