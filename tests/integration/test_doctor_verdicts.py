"""`microbatch doctor` as a process: what costs jobs is an error, ends with 1, and comes with its remedy."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from tests.integration.test_doctor import desk, doctor, grant, server

if TYPE_CHECKING:
    from pathlib import Path

    import redis
    from tests.chaos.kit import Desk

__all__ = ["desk", "server"]

REMEDIES = [
    ("memory", "maxmemory-policy noeviction"),
    ("persistence", "appendonly yes"),
    ("workers", "ZADD mb:{work}:workers NX 0 ghost"),
    ("workers", "start a worker of queue work"),
]


def test_what_costs_jobs_ends_with_one_and_says_what_to_do(
    desk: Desk, server: redis.Redis, any_redis_url: str, tmp_path: Path
) -> None:
    """A server that evicts and keeps nothing; entries that a dead worker has, and somebody unknown."""
    desk.redis.sadd("mb:queues", "work")
    server.config_set("maxmemory-policy", "allkeys-lru")
    server.config_set("appendonly", "no")
    desk.submit(1, 2)
    for holder in ("dead", "ghost"):
        desk.redis.xreadgroup("workers", holder, {desk.keys.lane("main"): ">"}, count=1)
    desk.redis.zadd(desk.keys.workers, {"dead": time.time() * 1000 - 60_000})

    code, out, err = doctor(any_redis_url, tmp_path, "--json")

    assert (code, err) == (1, [])
    findings = json.loads("\n".join(out))["findings"]
    errors = [(each["check"], each["remedy"]) for each in findings if each["severity"] == "error"]
    assert len(errors) == len(REMEDIES)
    for check, remedy in REMEDIES:
        assert [told for where, told in errors if where == check and remedy in told], (remedy, errors)


def test_a_command_that_the_user_may_not_send_ends_with_one_and_is_named(
    server: redis.Redis, any_redis_url: str, tmp_path: Path
) -> None:
    grant(server, "app", "worker", url=any_redis_url)
    server.sadd("mb:queues", "work")
    server.execute_command("ACL", "SETUSER", "app", "-xreadgroup")

    code, out, _ = doctor(any_redis_url, tmp_path, "--user", "app", "--role", "worker")

    assert code == 1
    assert any("xreadgroup" in line.lower() for line in out)
