"""`deploy/redis/redis.conf` boots the oldest and the newest server and takes effect there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.deploy.kit import ENGINES, booted, client_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis import Redis


@pytest.fixture(scope="module", params=ENGINES)
def server(request: pytest.FixtureRequest) -> Iterator[Redis]:
    with booted(request.param) as directory, client_of(directory) as client:
        yield client


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("appendonly", "yes"),
        ("appendfsync", "everysec"),
        ("save", ""),
        ("maxmemory", str(1024**3)),
        ("maxmemory-policy", "noeviction"),
        ("hash-max-listpack-value", "1024"),
        ("tcp-keepalive", "60"),
        ("timeout", "0"),
        ("lazyfree-lazy-user-del", "yes"),
        ("notify-keyspace-events", ""),
        ("latency-monitor-threshold", "50"),
    ],
)
def test_the_server_runs_with_what_the_file_says(server: Redis, name: str, value: str) -> None:
    assert server.config_get(name) == {name: value}


def test_a_result_of_a_kilobyte_keeps_its_record_compact(server: Redis) -> None:
    server.hset("record", mapping={"state": "succeeded", "result": "r" * 1024})
    assert server.object("ENCODING", "record") == "listpack"
