"""`microbatch submit` with priorities and batch keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import redis

from microbatch.common.keys import QueueKeys
from microbatch.console.main import main

if TYPE_CHECKING:
    from pathlib import Path

KEYS = QueueKeys("q")


def test_jobs_are_submitted_into_their_lane(
    redis_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = tmp_path / "jobs.jsonl"
    jobs.write_text("1\n2\n")
    lane = ("--priority", "-7", "--batch-key", "model-a", "--redis-url", redis_url)

    assert main(["submit", "q", "0", *lane]) == 0
    assert main(["submit", "q", "--file", str(jobs), *lane]) == 0

    ids = capsys.readouterr().out.split()
    with redis.Redis.from_url(redis_url, protocol=2) as client:
        entries = client.xrange(KEYS.lane("-7/model-a"))
    assert [b"q/" + fields[b"id"] for _, fields in entries] == [each.encode() for each in ids]


@pytest.mark.parametrize("option", [("--priority", "101"), ("--priority", "x"), ("--batch-key", "a b")])
def test_what_cannot_be_is_wrong_usage(
    redis_url: str, option: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = main(["submit", "q", "0", *option, "--redis-url", redis_url])
    except SystemExit as error:  # argparse
        code = error.code  # type: ignore[assignment] # it is a number here
    assert code == 2
    assert option[0].strip("-").replace("-", "_") in capsys.readouterr().err.replace("-", "_")
