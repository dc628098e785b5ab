"""No output of the command shows a secret, whatever goes wrong: all of them are searched for all of them."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from microbatch.console.main import main

ROOT = str(Path(__file__).parents[2])
PASSWORD = "hunter2+hunter2"  # noqa: S105 - it is looked for
KEY = base64.b64encode(b"correct horse battery staple 1234"[:32]).decode()
URL = f"redis://app:{PASSWORD}@127.0.0.1:1/0"
NOT_EVEN_PARTS = (PASSWORD, PASSWORD[:7], KEY, KEY[:8])
SOUND = {
    "MICROBATCH_REDIS_URL": URL,
    "MICROBATCH_SIGNING_KEYS": f"k1:{KEY}",
    "MICROBATCH_ENCRYPTION_KEYS": f"k2:{KEY}",
}
BROKEN = {
    "MICROBATCH_REDIS_URL": f"redis://app:{PASSWORD}/@127.0.0.1:1/0",
    "MICROBATCH_SIGNING_KEYS": f"k1:{KEY}{PASSWORD}",
    "MICROBATCH_ENCRYPTION_KEYS": KEY,
}
COMMANDS = [
    ["config"],
    ["config", "--json"],
    ["doctor"],
    ["status"],
    ["submit", "q", "1"],
    ["result", "q/x"],
    ["dead", "list", "q"],
    ["cron", "list", "q"],
    ["worker", "tests.integration.executor_processors:misbehaves", "--json"],
]


Outputs = Callable[[list[str], dict[str, str]], str]


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Outputs:
    """All that a command says: run here, or in a process of its own where it sets up that process's log."""
    monkeypatch.chdir(tmp_path)  # no .env of a developer's
    for name in [name for name in os.environ if name.startswith("MICROBATCH_")]:
        monkeypatch.delenv(name)

    def of(command: list[str], variables: dict[str, str]) -> str:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        words = [*command, *([] if command[0] == "config" else ["--connect-timeout-s", "0"])]
        if command[0] == "worker":
            monkeypatch.setenv("PYTHONPATH", os.pathsep.join([ROOT, os.environ.get("PYTHONPATH", "")]))
            subprocess.run([sys.executable, "-m", "microbatch.console", *words], check=False, timeout=60)
        else:
            main(words)
        shown = capfd.readouterr()
        return shown.out + shown.err

    return of


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_no_command_shows_a_secret(command: list[str], outputs: Outputs) -> None:
    said = outputs(command, SOUND)

    assert said
    assert not [secret for secret in NOT_EVEN_PARTS if secret in said]


@pytest.mark.parametrize("name", BROKEN)
def test_no_complaint_about_a_secret_repeats_it(name: str, outputs: Outputs) -> None:
    said = outputs(["config"], {name: BROKEN[name]})

    assert name in said
    assert not [secret for secret in NOT_EVEN_PARTS if secret in said]
