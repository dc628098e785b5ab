"""The benchmark runs, checks its results and prints its tables; how fast it was is nobody's assertion."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from benchmarks.cell import Cell
from benchmarks.measured import Measured, Results
from benchmarks.stage import play
from benchmarks.workload import WrongResultError, check, mean_batch_size

ROOT = Path(__file__).parents[2]


def _run(*arguments: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def _processes_with(text: str) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            environment = path.read_bytes()
            if text.encode() in environment and int(path.parent.name) != os.getpid():
                found.append((path.parent / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:  # gone meanwhile, or another user's
            continue
    return found


@pytest.fixture(scope="module")
def short_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("b")


@pytest.mark.long
def test_a_tiny_run_prints_the_table_and_leaves_nothing_behind(short_path: Path) -> None:
    report = short_path / "figures.json"
    arguments = (
        "--only",
        "throughput",
        "--contenders",
        "limit,microbatch",
        "--reps",
        "1",
        "--seconds",
        "0.3",
    )

    done = _run(*arguments, "--json", str(report), tmp_path=short_path)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "machine: " in done.stdout
    rows = [line.split(" | ")[0].strip("| ") for line in done.stdout.splitlines() if line.startswith("| ")]
    assert rows[:3] == ["contender", "limit", "microbatch"]
    assert "| target | measured | met |" in done.stdout
    assert "failed" not in done.stdout
    figures: dict[str, Any] = json.loads(report.read_text("utf-8"))["scenarios"]["throughput"]
    for contender in ("limit", "microbatch"):
        assert figures[contender][0]["figures"]["jobs_per_s"] > 0
    report.unlink()
    assert list(short_path.iterdir()) == []
    assert _processes_with(f"TMPDIR={short_path}") == []


def test_an_unknown_scenario_is_a_usage_error(tmp_path: Path) -> None:
    done = _run("--only", "speed", tmp_path=tmp_path)

    assert done.returncode == 2
    assert "'speed' is none of throughput, submit" in done.stderr


def test_a_server_program_that_is_none_is_said_in_one_line(tmp_path: Path) -> None:
    done = _run("--redis", "/nowhere/redis-server", tmp_path=tmp_path)

    assert done.returncode == 1
    assert "'/nowhere/redis-server', which is not an executable file" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_cell_whose_worker_dies_is_a_failure_with_its_reason() -> None:
    measured = play(Cell(scenario="throughput", contender="nobody", label="nobody", seconds=0.1), None)

    assert measured.figures == {}
    assert measured.failure.startswith("the worker died")
    assert "KeyError: 'nobody'" in measured.failure


def test_a_wrong_result_is_found() -> None:
    check([(1, [2, 5]), (7, [8, 5])])
    with pytest.raises(WrongResultError, match="job 7"):
        check([(1, [2, 5]), (7, [2, 5])])


def test_the_mean_batch_size_counts_calls() -> None:
    assert mean_batch_size([[0, 3]] * 3 + [[0, 1]]) == 2


def test_ratios_are_taken_within_a_repetition() -> None:
    results = Results([])
    cell = Cell(scenario="throughput", contender="limit", label="limit", seconds=1)
    ours = replace(cell, label="ours")
    for limit_rate, our_rate in ((100.0, 50.0), (10.0, 8.0), (1.0, 0.6)):
        results.add(cell, Measured({"rate": limit_rate}))
        results.add(ours, Measured({"rate": our_rate}))
    results.add(cell, Measured({}, failure="it hung"))
    results.add(ours, Measured({"rate": 1.0}))

    assert results.ratio("rate", "ours", "limit") == 0.6
    assert list(results.failures()) == [("limit", "it hung")]
