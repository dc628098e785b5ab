"""The doctor's checks: facts in, findings out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from microbatch.console.doctor.checks import diagnose
from microbatch.console.doctor.checks.version import HOLES
from microbatch.console.doctor.facts import (
    AccessFacts,
    ClockFacts,
    Facts,
    KeysFacts,
    LaneFacts,
    QueueFacts,
    ServerFacts,
)
from microbatch.console.doctor.finding import Finding, Severity

INFO = {
    "redis_version": "7.2.4",
    "server_name": "valkey",
    "valkey_version": "9.1.2",
    "redis_mode": "standalone",
    "role": "master",
    "used_memory": "1000",
    "maxmemory": "100000",
    "maxmemory_policy": "noeviction",
    "aof_enabled": "1",
    "aof_last_write_status": "ok",
}
CONFIG = {"appendfsync": "everysec", "save": "", "hash-max-listpack-value": "1024"}
SERVER = ServerFacts("", INFO, CONFIG, clock=ClockFacts(0.0, 0.001))
ALIVE = QueueFacts("q", beats_age_s={"w": 0.5}, lanes={"main": LaneFacts(0, True, True, {"w": 0})})
HEALTHY = Facts(
    (SERVER,), AccessFacts("u", "ACL DRYRUN", {"worker": ()}), ("worker",), (ALIVE,), KeysFacts(3), 10.0
)


def findings(facts: Facts, check: str, severity: Severity) -> list[Finding]:
    return [each for each in diagnose(facts) if each.check == check and each.severity is severity]


def with_server(info: dict[str, str] | None = None, **changes: Any) -> Facts:
    return replace(HEALTHY, servers=(replace(SERVER, info=INFO | (info or {}), **changes),))


def with_queue(**changes: Any) -> Facts:
    return replace(HEALTHY, queues=(replace(ALIVE, **changes),))


def only(facts: Facts, check: str, severity: Severity) -> Finding:
    (finding,) = findings(facts, check, severity)
    return finding


def test_a_healthy_deployment_has_nothing_but_good_findings_and_each_check_says_something() -> None:
    found = diagnose(HEALTHY)

    assert {each.severity for each in found} == {Severity.OK}
    assert {each.check for each in found} == {
        "server",
        "scripts",
        "memory",
        "persistence",
        "replication",
        "clock",
        "access",
        "queue",
        "keys",
    }


def test_whatever_is_not_in_order_has_a_remedy() -> None:
    broken = Facts(
        (ServerFacts("port 1", INFO | {"maxmemory_policy": "allkeys-lru", "aof_enabled": "0"}),),
        AccessFacts(refusal="NOPERM"),
        ("worker",),
        (
            QueueFacts(
                "q",
                known=False,
                waiting=3,
                oldest_age_s=99,
                foreign=(("mb:{q}:idle", "string", "zset"),),
                refusals={"the lanes": "NOPERM"},
                lanes={"main": LaneFacts(4, True, False, {"a": 1, "b": 0})},
            ),
        ),
        KeysFacts(9, complete=False, nameless=("x",), orphans={"things": ("a", "b", "c", "d")}),
        10.0,
    )

    bad = [each for each in diagnose(broken) if each.severity is not Severity.OK]

    assert len(bad) > 8
    assert all(each.remedy and "\n" not in each.fact + each.remedy for each in bad)


# --- the server ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "holes"),
    [
        ("7.0.4", 5),
        ("7.0.15", 4),
        ("7.2.4", 5),
        ("7.2.11", 1),
        ("7.4.8", 1),
        ("7.4.9", 0),
        ("8.0.3", 2),
        ("8.2.6", 0),
        ("8.4.0", 1),
        ("8.8.0", 0),
    ],
)
def test_a_redis_has_the_holes_that_its_release_had(version: str, holes: int) -> None:
    numbers = tuple(int(number) for number in version.split("."))
    assert sum(hole.is_in("Redis", numbers) for hole in HOLES) == holes  # type: ignore[arg-type] # three

    info = {name: value for name, value in INFO.items() if name not in ("valkey_version", "server_name")}
    facts = replace(HEALTHY, servers=(replace(SERVER, info=info | {"redis_version": version}),))
    warnings = findings(facts, "server", Severity.WARN)
    assert len(warnings) == min(1, holes)
    assert all("CVE-2" in each.fact and "upgrade to Redis" in each.remedy for each in warnings)


def test_the_remedy_names_a_version_that_closes_all_holes() -> None:
    facts = with_server({"valkey_version": "8.0.1"})

    assert "Valkey 8.0.9 or later" in only(facts, "server", Severity.WARN).remedy


@pytest.mark.parametrize("version", ["7.2.13", "8.1.7", "9.0.4", "9.1.0", "9.1.2"])
def test_a_patched_valkey_is_fine_although_it_calls_itself_redis_7_2_4(version: str) -> None:
    facts = with_server({"valkey_version": version})

    assert findings(facts, "server", Severity.WARN) == []
    assert only(facts, "server", Severity.OK).fact == f"Valkey {version}, standalone"


def test_a_server_that_is_too_old_is_an_error_and_an_unknown_kind_a_warning() -> None:
    old = {"redis_version": "6.2.20", "redis_mode": "standalone"}
    assert (
        "too old"
        in only(replace(HEALTHY, servers=(replace(SERVER, info=old),)), "server", Severity.ERROR).fact
    )
    other = {"redis_version": "7.4.0", "dragonfly_version": "v1.30"}
    facts = replace(HEALTHY, servers=(replace(SERVER, info=other),))
    assert "Dragonfly 1.30" in only(facts, "server", Severity.WARN).fact


def test_a_server_that_tells_nothing_is_a_warning_with_its_words() -> None:
    facts = replace(HEALTHY, servers=(ServerFacts("", refusals={"INFO": "NOPERM no"}),))

    assert "NOPERM no" in only(facts, "server", Severity.WARN).fact
    assert findings(facts, "memory", Severity.OK) == []


def test_scripts_that_cannot_be_loaded_are_an_error_and_an_unknown_lag_is_a_warning() -> None:
    assert "NOPERM" in only(with_server(script_refusal="NOPERM"), "scripts", Severity.ERROR).fact
    lag = with_queue(lanes={"main": LaneFacts(1, True, False)})
    assert "lane main" in only(lag, "scripts", Severity.WARN).fact


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-lru", "volatile-ttl", "allkeys-random"])
def test_every_policy_that_evicts_is_an_error(policy: str) -> None:
    finding = only(with_server({"maxmemory_policy": policy}), "memory", Severity.ERROR)

    assert policy in finding.fact
    assert "maxmemory-policy noeviction" in finding.remedy


@pytest.mark.parametrize(
    ("used", "severity"), [("79000", Severity.OK), ("81000", Severity.WARN), ("100000", Severity.ERROR)]
)
def test_fullness_is_judged_before_submits_are_refused(used: str, severity: Severity) -> None:
    (finding,) = [
        each for each in diagnose(with_server({"used_memory": used})) if "of maxmemory" in each.fact
    ]
    assert finding.severity is severity


def test_no_limit_and_a_small_listpack_are_warnings() -> None:
    assert "not set" in only(with_server({"maxmemory": "0"}), "memory", Severity.WARN).fact
    small = with_server(config=CONFIG | {"hash-max-listpack-value": "64"})
    assert "1024" in only(small, "memory", Severity.WARN).remedy


@pytest.mark.parametrize(
    ("aof", "config", "severity"),
    [
        ("1", {"appendfsync": "always"}, Severity.OK),
        ("1", {"appendfsync": "everysec"}, Severity.OK),
        ("1", {"appendfsync": "no"}, Severity.WARN),
        ("1", {}, Severity.WARN),
        ("0", {"save": "3600 1 300 100"}, Severity.WARN),
        ("0", {}, Severity.WARN),
        ("0", {"save": ""}, Severity.ERROR),
    ],
)
def test_what_a_crash_would_cost_is_judged(aof: str, config: dict[str, str], severity: Severity) -> None:
    facts = with_server({"aof_enabled": aof}, config=config)

    assert [each.severity for each in diagnose(facts) if each.check == "persistence"] == [severity]


def test_a_failed_write_of_the_file_is_an_error() -> None:
    facts = with_server({"aof_last_write_status": "err"})

    assert "writes are refused" in only(facts, "persistence", Severity.ERROR).fact


def test_a_replica_is_an_error_and_an_unbounded_split_brain_a_warning() -> None:
    replica = with_server({"role": "slave", "master_host": "h", "master_port": "1"})
    assert "replica of h:1" in only(replica, "replication", Severity.ERROR).fact

    info = {"slave0": "ip=10.0.0.2,port=6379,state=online,offset=1,lag=0"}
    loose = with_server(info, config=CONFIG | {"min-replicas-to-write": "0"})
    assert "min-replicas-to-write 0" in only(loose, "replication", Severity.WARN).fact
    tight = with_server(info, config=CONFIG | {"min-replicas-to-write": "1"})
    assert findings(tight, "replication", Severity.WARN) == []
    late = with_server({"slave0": "ip=10.0.0.2,port=6379,state=online,offset=1,lag=11"})
    assert "10.0.0.2:6379" in only(late, "replication", Severity.WARN).fact


@pytest.mark.parametrize(
    ("ahead_s", "uncertain_s", "severity"),
    [
        (0.9, 0.001, Severity.OK),
        (-1.5, 0.001, Severity.WARN),
        (1.5, 1.0, Severity.OK),
        (90.0, 0.1, Severity.ERROR),
        (-31.0, 0.1, Severity.ERROR),
    ],
)
def test_a_difference_of_clocks_counts_as_far_as_it_is_certain(
    ahead_s: float, uncertain_s: float, severity: Severity
) -> None:
    facts = with_server(clock=ClockFacts(ahead_s, uncertain_s))

    assert [each.severity for each in diagnose(facts) if each.check == "clock"] == [severity]


# --- rights ----------------------------------------------------------------------------------


def test_missing_rights_are_an_error_whose_remedy_is_the_rule_that_grants_them() -> None:
    facts = replace(
        HEALTHY, access=AccessFacts("u", "ACL DRYRUN", {"worker": ("xack", "~mb:{q}:*", "&mb:{q}:*")})
    )

    assert "ACL SETUSER u +xack ~mb:{q}:* &mb:{q}:*" in only(facts, "access", Severity.ERROR).remedy


def test_rights_that_cannot_be_seen_are_said_to_be_unknown() -> None:
    facts = replace(HEALTHY, access=AccessFacts("u", refusal="NOPERM"))

    assert only(facts, "access", Severity.WARN).fact.startswith("cannot tell what user u may do")
    assert findings(facts, "access", Severity.OK) == []


# --- queues and workers ----------------------------------------------------------------------


def test_jobs_without_a_worker_are_a_warning_and_after_a_minute_an_error() -> None:
    new = with_queue(waiting=2, oldest_age_s=3.0, beats_age_s={})
    assert "no worker lives" in only(new, "queue", Severity.WARN).fact
    old = with_queue(waiting=2, oldest_age_s=61.0, beats_age_s={"w": 11.0})
    assert "the oldest for 61.0 s" in only(old, "queue", Severity.ERROR).fact
    busy = with_queue(waiting=2, oldest_age_s=61.0)
    assert "more arrives than leaves" in only(busy, "queue", Severity.WARN).remedy


@pytest.mark.parametrize(
    ("what", "remedy"),
    [("paused", "`microbatch queue resume q` lets them go"), ("draining", "submits are refused meanwhile")],
)
def test_a_queue_that_is_held_up_for_long_with_jobs_in_it_is_a_warning(what: str, remedy: str) -> None:
    forgotten = only(
        with_queue(waiting=2, oldest_age_s=1.0, held={what: (660.0, "me@here")}), "queue", Severity.WARN
    )
    assert f"{what} for 11.0 min by me@here; jobs waiting: 2" in forgotten.fact
    assert remedy in forgotten.remedy
    for fine_facts in ({"waiting": 0}, {"held": {what: (599.0, "me@here")}}):
        facts = with_queue(
            **({"waiting": 2, "oldest_age_s": 1.0, "held": {what: (660.0, "me")}} | fine_facts)
        )
        assert findings(facts, "queue", Severity.WARN) == []


def test_jobs_of_a_paused_queue_wait_because_of_that_and_not_for_workers() -> None:
    facts = with_queue(waiting=2, oldest_age_s=9_000.0, beats_age_s={}, held={"paused": (5.0, "me@here")})
    assert findings(facts, "queue", Severity.ERROR) == findings(facts, "queue", Severity.WARN) == []
    assert "paused for 0.1 min by me@here" in only(facts, "queue", Severity.OK).fact


def test_a_queue_that_is_not_there_is_an_error_and_nothing_else() -> None:
    facts = with_queue(exists=False, known=False, lanes={}, beats_age_s={})

    assert "no such queue" in only(facts, "queue", Severity.ERROR).fact
    assert findings(facts, "queue", Severity.WARN) == []


def test_a_key_of_another_type_is_an_error_that_names_the_key() -> None:
    facts = with_queue(waiting=None, foreign=(("mb:{q}:tombstones", "string", "set"),))

    assert "mb:{q}:tombstones holds a string instead of a set" in only(facts, "queue", Severity.ERROR).fact


def held(worker: str, entries: int, beats: dict[str, float]) -> Facts:
    return with_queue(
        beats_age_s=beats,
        lanes={"main": LaneFacts(entries, True, True, {worker: entries})},
    )


def test_what_a_silent_worker_holds_is_stuck_once_a_takeover_should_have_come() -> None:
    assert findings(held("gone", 3, {"gone": 11.0, "w": 0.1}), "workers", Severity.ERROR) == []
    refused = only(held("gone", 3, {"gone": 13.0, "w": 0.1}), "workers", Severity.ERROR)
    assert "no takeover came" in refused.fact
    alone = only(held("gone", 3, {"gone": 13.0}), "workers", Severity.ERROR)
    assert alone.remedy == "start a worker of queue q"


def test_what_a_consumer_without_any_heartbeat_holds_is_stuck_for_ever() -> None:
    finding = only(held("ghost", 3, {"w": 0.1}), "workers", Severity.ERROR)

    assert "no heartbeat at all" in finding.fact
    assert finding.remedy.startswith("ZADD mb:{q}:workers NX 0 ghost")


def test_leftovers_are_warnings() -> None:
    empty = held("ghost", 0, {"w": 0.1})
    assert "which hold nothing: ghost" in only(empty, "workers", Severity.WARN).fact
    gone = with_queue(beats_age_s={"w": 0.1, "gone": 99.0})
    assert "stopped beating" in only(gone, "workers", Severity.WARN).fact
    unlisted = with_queue(lanes={"main": LaneFacts(2, True, True, {"w": 2}, {"w": 2})})
    assert "in none of its batches: 2" in only(unlisted, "workers", Severity.WARN).fact


def test_a_worker_that_never_claimed_is_noticed_only_where_jobs_wait() -> None:
    idle = with_queue(beats_age_s={"new": 0.1}, lanes={"main": LaneFacts(0, True, True)})
    assert findings(idle, "workers", Severity.WARN) == []
    lazy = replace(idle, queues=(replace(idle.queues[0], waiting=1, oldest_age_s=11.0),))
    assert "never claimed" in only(lazy, "workers", Severity.WARN).fact


def test_the_walk_says_what_it_found_and_how_far_it_came() -> None:
    part = replace(HEALTHY, keys=KeysFacts(1000, complete=False))
    assert only(part, "keys", Severity.OK).fact == "no orphans among the first 1,000 keys"
    broken = replace(HEALTHY, keys=KeysFacts(names_refusal="WRONGTYPE Operation"))
    assert "mb:queues" in only(broken, "keys", Severity.ERROR).fact
    blind = replace(HEALTHY, keys=KeysFacts(refusal="NOPERM scan"))
    assert "NOPERM scan" in only(blind, "keys", Severity.WARN).fact


# --- the report ------------------------------------------------------------------------------


def test_a_schedule_that_nobody_sees_to_is_told_with_what_to_do() -> None:
    waiting = {"old": 4_000.0, "new": 1.0, "a": 31.0, "b": 32.0, "c": 33.0}
    finding = only(with_queue(schedules_wait_s=waiting), "schedules", Severity.ERROR)
    assert finding.subject == "q"
    assert "old (for 4,000 s), c (for 33 s), b (for 32 s) and 1 more" in finding.fact
    assert "logs of its workers" in finding.remedy

    alone = only(with_queue(schedules_wait_s=waiting, beats_age_s={}), "schedules", Severity.ERROR)
    assert "start a worker of queue q" in alone.remedy
    assert findings(with_queue(schedules_wait_s={"new": 5.0}), "schedules", Severity.ERROR) == []
