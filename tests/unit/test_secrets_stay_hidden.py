"""No output of the command shows a secret, whatever goes wrong: all of them are searched for all of them."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from pathlib import Path

import pytest

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


def outputs(command: list[str], variables: dict[str, str], folder: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MICROBATCH_")}
    root = str(Path(__file__).parents[2])
    environment["PYTHONPATH"] = os.pathsep.join([root, environment.get("PYTHONPATH", "")])
    options = [] if command[0] == "config" else ["--connect-timeout-s", "0"]
    done = subprocess.run(
        [sys.executable, "-m", "microbatch.console", *command, *options],
        env=environment | variables,
        cwd=folder,  # no .env of a developer's
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_no_command_shows_a_secret(command: list[str], tmp_path: Path) -> None:
    said = outputs(command, SOUND, tmp_path)

    assert said
    assert not [secret for secret in NOT_EVEN_PARTS if secret in said]


@pytest.mark.parametrize("name", BROKEN)
def test_no_complaint_about_a_secret_repeats_it(name: str, tmp_path: Path) -> None:
    said = outputs(["config"], {name: BROKEN[name]}, tmp_path)

    assert name in said
    assert not [secret for secret in NOT_EVEN_PARTS if secret in said]
