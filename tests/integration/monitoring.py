"""Asking a worker or an exporter over HTTP, and reading what it says about its metrics."""

from __future__ import annotations

import os
import shutil
import subprocess
from http.client import HTTPConnection
from typing import NamedTuple

import pytest
from prometheus_client.parser import text_string_to_metric_families

PROMTOOL = os.environ.get("PROMTOOL") or shutil.which("promtool")


class Answer(NamedTuple):
    status: int
    content_type: str
    text: str


def asked(address: str, path: str, *, accept: str = "", method: str = "GET") -> Answer:
    connection = HTTPConnection(address, timeout=10)
    try:
        connection.request(method, path, headers={"Accept": accept})
        response = connection.getresponse()
        return Answer(response.status, response.getheader("Content-Type", ""), response.read().decode())
    finally:
        connection.close()


def samples(address: str) -> dict[tuple[str, tuple[str, ...]], float]:
    """Every sample of ours by name and label values, the queue's first; of histograms their parts."""
    families = text_string_to_metric_families(asked(address, "/metrics").text)
    return {
        (sample.name, _values(sample.labels)): sample.value
        for family in families
        for sample in family.samples
        if sample.name.startswith("microbatch_")
    }


def _values(labels: dict[str, str]) -> tuple[str, ...]:
    return tuple(labels[name] for name in sorted(labels, key=lambda name: (name != "queue", name)))


def names(address: str) -> set[str]:
    """The names of our metrics, as they are documented."""
    suffixes = {"counter": "_total", "info": "_info"}
    return {
        family.name + suffixes.get(family.type, "")
        for family in text_string_to_metric_families(asked(address, "/metrics").text)
        if family.name.startswith("microbatch_")
    }


def check_by_promtool(address: str) -> None:
    """Prometheus's own linter has nothing to say."""
    if PROMTOOL is None:
        pytest.skip("promtool is not on PATH, and PROMTOOL is not set")
    text = asked(address, "/metrics").text
    ours = "".join(line for line in text.splitlines(keepends=True) if "microbatch_" in line)
    done = subprocess.run(
        [PROMTOOL, "check", "metrics"], input=ours, capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
