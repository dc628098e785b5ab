"""`microbatch cron` on a real server: what it prints, in both forms, and its exit codes."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

from microbatch.common import scripts
from microbatch.console.main import main

if TYPE_CHECKING:
    from collections.abc import Callable

    Run = Callable[..., tuple[int, str, str]]

NIGHTLY = ("report", "nightly", "--cron", "0 3 * * *", "--timezone", "Europe/Berlin")


@pytest.fixture
def run(redis_url: str, run_main: Callable[..., Run]) -> Run:
    """Runs `microbatch cron` in this process: its code, stdout and stderr."""
    return run_main(redis_url, "cron")


def listed(run: Run, *words: str) -> list[dict[str, Any]]:
    code, out, _ = run("list", *words, "--json")
    assert code == 0
    found: list[dict[str, Any]] = json.loads(out)
    return found


def test_a_schedule_is_added_listed_changed_paused_resumed_and_removed(run: Run) -> None:
    code, out, err = run("add", *NIGHTLY, "--payload", '{"n": 1}')
    assert (code, err) == (0, "")
    assert out.startswith("nightly: added, next 2")
    assert run("add", *NIGHTLY, "--payload", '{"n": 1}')[1].startswith("nightly: there already")
    assert run("add", *NIGHTLY)[1].startswith("nightly: changed")

    (schedule,) = listed(run)
    assert schedule["rule"] == "0 3 * * * (Europe/Berlin)"
    assert schedule["next_at"][11:19] in ("01:00:00", "02:00:00")
    assert (schedule["queue"], schedule["missed"], schedule["source"]) == ("report", "run_once", "operator")
    table = run("list", "report")[1].splitlines()
    assert table[0].split()[:3] == ["QUEUE", "NAME", "RULE"]
    assert table[1].split()[:2] == ["report", "nightly"]

    assert run("pause", "report", "nightly")[:2] == (0, "nightly: paused\n")
    assert listed(run)[0]["next_at"] is None
    assert "paused" in run("list")[1]
    assert "paused" in run("add", *NIGHTLY)[1]
    assert json.loads(run("resume", "report", "nightly", "--json")[1])["answer"] == "resumed"
    assert run("remove", "report", "nightly")[:2] == (0, "nightly: removed\n")
    assert listed(run, "report") == []
    assert run("list")[1] == "no schedules\n"


def test_run_now_prints_the_id_of_a_job_that_waits(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run("add", "report", "poll", "--every-s", "30", "--missed", "skip")
    code, out, _ = run("run-now", "report", "poll")
    assert code == 0
    assert json.loads(run("run-now", "report", "poll", "--json")[1])["queue"] == "report"
    assert main(["status", "report", "--json"]) == 0
    assert '"waiting": 2' in capsys.readouterr().out
    assert out.startswith("report/")


def test_add_in_json(run: Run) -> None:
    told = json.loads(run("add", "report", "poll", "--every-s", "30", "--json")[1])
    assert told.keys() == {"queue", "name", "answer", "next_at"}
    assert (told["queue"], told["name"], told["answer"]) == ("report", "poll", "new")


@pytest.mark.parametrize(
    "words",
    [
        ("add", "report", "x"),
        ("add", "report", "x", "--cron", "* * *"),
        ("add", "report", "x", "--cron", "* * * * *", "--every-s", "5"),
        ("add", "report", "x", "--cron", "* * * * *", "--timezone", "Mars"),
        ("add", "report", "x", "--every-s", "0.1"),
        ("add", "report", "x", "--every-s", "5", "--payload", "{"),
        ("add", "report", "x", "--every-s", "5", "--max-missed", "0"),
        ("add", "report", "x", "--every-s", "5", "--max-attempts", "0"),
        ("add", "report", "x/y", "--every-s", "5"),
        ("add", "re port", "x", "--every-s", "5"),
        ("add", "report"),
        ("pause", "report"),
        ("pause",),
        ("pause", "report", "x", "--every-s", "5"),
        ("list", "report", "x"),
        ("never", "report", "x"),
        (),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(run: Run, words: tuple[str, ...]) -> None:
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("action", ["pause", "resume", "remove", "run-now"])
def test_what_is_not_there_is_told_with_exit_code_3(run: Run, action: str) -> None:
    assert run(action, "report", "nightly")[0] == 3
    run("add", *NIGHTLY)
    code, _, err = run(action, "report", "nightli")
    assert code == 3
    assert "no schedule 'nightli'" in err


def test_a_full_queue_and_too_many_schedules_are_refusals(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run("add", *NIGHTLY)
    monkeypatch.setenv("MICROBATCH_MAX_QUEUE_LENGTH", "1")
    assert run("run-now", "report", "nightly")[0] == 0
    assert run("run-now", "report", "nightly")[0] == 1
    put = scripts.schedule_put
    monkeypatch.setattr(
        scripts,
        "schedule_put",
        lambda keys, name, definition, **more: put(keys, name, definition, limit=1, **more),
    )
    code, _, err = run("add", "report", "other", "--every-s", "5")
    assert code == 1
    assert "remove some" in err


def test_without_the_extra_the_command_says_what_to_install(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cronsim", None)
    code, _, err = run("add", "report", "x", "--cron", "7 7 7 7 *")
    assert code == 2
    assert "microbatch[cron]" in err
