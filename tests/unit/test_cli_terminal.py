"""Lines for a terminal: safe, aligned, on the right stream; and the log of a worker."""

from __future__ import annotations

import json
import logging
import sys
from typing import TYPE_CHECKING

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from microbatch.console.logs import log_to_stderr
from microbatch.console.progress import progress
from microbatch.console.terminal import complain, escaped, table

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def log() -> Iterator[logging.Logger]:
    """A logger; the root logger is afterwards as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers.clear()
    yield logging.getLogger("microbatch.worker")
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def boom() -> None:
    raise ValueError("boom\x1b[2J")


@given(st.text())
def test_escaped_text_is_one_printable_line(text: str) -> None:
    assert escaped(text).isprintable()


@given(st.text(st.characters(categories=["L", "N", "P", "S"])))
def test_text_that_can_be_printed_stays_as_it_is(text: str) -> None:
    assert escaped(text) == text


def test_escapes_and_line_ends_become_visible(capsys: pytest.CaptureFixture[str]) -> None:
    complain("microbatch test", "red \x1b[31m\nnext\u202e")
    assert capsys.readouterr() == ("", "microbatch test: red \\x1b[31m\\nnext\\u202e\n")


def test_a_table_puts_numbers_right_and_text_left() -> None:
    assert table(("QUEUE", "WAITING"), [("a", 12_345), ("long\tname", 7), ("b", None)]).splitlines() == [
        "QUEUE       WAITING",
        "a            12,345",
        "long\\tname        7",
        "b                 -",
    ]


def test_a_table_without_rows_has_its_titles() -> None:
    assert table(("A", "B"), []) == "A  B"


def test_a_log_line_has_time_level_and_message(
    log: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    log_to_stderr("info", "console")
    log.info("ready: %s", "a\nb")
    log.debug("not shown")
    moment, rest = capsys.readouterr().err.split(" ", 1)
    assert moment.endswith("Z")
    assert rest == "[info     ] ready: a\\nb [microbatch.worker]\n"


def test_a_log_line_in_json_is_one_line_with_its_traceback(
    log: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    log_to_stderr("warning", "json")
    try:
        boom()
    except ValueError:
        log.exception("it broke")
    (line,) = capsys.readouterr().err.splitlines()
    record = json.loads(line)
    assert record.keys() == {"time", "level", "logger", "message", "traceback"}
    assert (record["level"], record["logger"], record["message"]) == (
        "error",
        "microbatch.worker",
        "it broke",
    )
    assert record["traceback"].startswith("Traceback")


def test_a_traceback_in_the_log_keeps_its_lines_and_loses_its_escapes(
    log: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    log_to_stderr("warning", "console")
    try:
        boom()
    except ValueError:
        log.exception("it broke")
    lines = capsys.readouterr().err.splitlines()
    assert lines[1] == "Traceback (most recent call last):"
    assert lines[-1] == "ValueError: boom\\x1b[2J"


def test_progress_elsewhere_than_on_a_terminal_is_now_and_then_a_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("microbatch.console.progress.LINE_INTERVAL_S", 0.0)
    with progress("microbatch submit", total_bytes=200, results_on_stdout=True) as advance:
        advance(50, 1_000, 3)
    assert capsys.readouterr().err == "microbatch submit: 1,000 done (25%), 3 without a result\n"


def test_progress_without_rich_is_lines_on_a_terminal_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("microbatch.console.progress.LINE_INTERVAL_S", 0.0)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setitem(sys.modules, "rich", None)
    with progress("microbatch submit", total_bytes=None, results_on_stdout=False) as advance:
        advance(50, 2, 0)
    assert capsys.readouterr().err == "microbatch submit: 2 done, 0 without a result\n"


def test_progress_on_a_terminal_is_a_bar(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("rich")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with progress("microbatch submit", total_bytes=200, results_on_stdout=False) as advance:
        advance(200, 4, 1)
    shown = capsys.readouterr()
    assert "4 done, 1 without a result" in shown.err
    assert shown.out == ""
