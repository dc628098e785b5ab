"""`microbatch demo` around the play: its options, what it prints, and its exit codes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from tests.unit.test_demo_summary import some_summary

from microbatch.console.demo import play as played
from microbatch.console.demo.child import DemoFailed
from microbatch.console.demo.play import Wish
from microbatch.console.main import main

if TYPE_CHECKING:
    from microbatch.console.demo.progress import Progress
    from microbatch.console.demo.summary import Summary


@pytest.fixture
def wishes(monkeypatch: pytest.MonkeyPatch) -> list[Wish]:
    """What was asked of a play that takes no time."""
    asked: list[Wish] = []

    def play(wish: Wish, _: Progress) -> Summary:
        asked.append(wish)
        return some_summary(wish.query)

    monkeypatch.setattr(played, "play", play)
    return asked


def test_machines_get_the_summary_as_json(wishes: list[Wish], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--json", "--jobs", "40", "--search", "xyzzy"]) == 0

    shown = capsys.readouterr()
    assert json.loads(shown.out) == json.loads(json.dumps(some_summary("xyzzy").as_dict()))
    assert shown.err == ""
    assert wishes == [Wish("xyzzy", 40)]


def test_a_process_that_failed_is_told_with_its_log_and_is_exit_70(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def play(_: Wish, __: Progress) -> Summary:
        raise DemoFailed("worker 1 ended unexpectedly\n  its last line")

    monkeypatch.setattr(played, "play", play)
    assert main(["demo"]) == 70

    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines() == [
        "microbatch demo: worker 1 ended unexpectedly",
        "microbatch demo:   its last line",
    ]


@pytest.mark.parametrize("jobs", ["0", "-1", "x", "1.5"])
def test_a_number_of_jobs_that_is_none_is_refused(
    jobs: str, wishes: list[Wish], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", "--jobs", jobs]) == 2

    shown = capsys.readouterr()
    assert shown.out == ""
    assert "is no number from 1 to 1,000,000" in shown.err
    assert wishes == []
