"""`microbatch config`: what is in force, where it came from, and no secrets."""

from __future__ import annotations

import json
import os
import warnings
from typing import TYPE_CHECKING

import pytest

from microbatch.console.main import main

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings from outside."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.upper().startswith("MICROBATCH_")]:
        monkeypatch.delenv(name)


def rows(capsys: pytest.CaptureFixture[str]) -> list[list[str]]:
    return [line.split() for line in capsys.readouterr().out.splitlines()]


def test_without_anything_set_all_is_default(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config"]) == 0
    titles, *settings = rows(capsys)
    assert titles == ["SETTING", "VALUE", "FROM", "USED", "BY"]
    assert {row[2] for row in settings} == {"default"}
    assert ["redis_url", "redis://localhost:6379/0", "default", "client,", "worker"] in settings
    assert ["max_batch_size", "32", "default", "worker"] in settings


def test_the_origin_of_each_value_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MICROBATCH_MAX_WAIT_MS", "20")
    monkeypatch.setenv("MICROBATCH_QUEUE__EMBED__MAX_BATCH_SIZE", "7")
    (tmp_path / ".env").write_text("MICROBATCH_CONCURRENCY=3\n")
    assert main(["config", "--connect-timeout-s", "2", "--json"]) == 0
    found = {row["name"]: (row["value"], row["origin"]) for row in json.loads(capsys.readouterr().out)}
    assert found["max_wait_ms"] == (20, "environment MICROBATCH_MAX_WAIT_MS")
    assert found["queue.EMBED.max_batch_size"] == (7, "environment MICROBATCH_QUEUE__EMBED__MAX_BATCH_SIZE")
    assert found["concurrency"] == (3, ".env MICROBATCH_CONCURRENCY")
    assert found["connect_timeout_s"] == (2, "command line")
    assert found["command_timeout_s"] == (5, "default")


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_passwords_are_not_shown(form: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "--redis-url", "redis://me:hunter2@db:6379/0", *form]) == 0
    shown = capsys.readouterr().out
    assert "hunter2" not in shown
    assert "redis://me:***@db:6379/0" in shown


def test_a_row_says_all_about_a_setting(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "--json"]) == 0
    row = next(row for row in json.loads(capsys.readouterr().out) if row["name"] == "max_wait_ms")
    assert row.keys() == {"name", "variable", "value", "origin", "default", "description", "used_by"}
    assert (row["variable"], row["used_by"]) == ("MICROBATCH_MAX_WAIT_MS", ["WorkerSettings"])


def test_a_wrong_variable_is_one_line_and_exit_2(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MICROBATCH_MAX_WAIT_MS", "soon")
    assert main(["config"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "MICROBATCH_MAX_WAIT_MS is 'soon', it must be a number of milliseconds" in line


def test_a_misspelt_variable_is_one_line_and_no_error(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MICROBATCH_MAX_WAIT_MSS", "3")
    with warnings.catch_warnings():
        warnings.simplefilter("default")  # as outside of a test
        assert main(["config"]) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("microbatch config: warning: MICROBATCH_MAX_WAIT_MSS")
    assert "did you mean MICROBATCH_MAX_WAIT_MS?" in line
