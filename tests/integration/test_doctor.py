"""`microbatch doctor` at real servers: a healthy one, one set up wrongly, and users with too few rights."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest
import redis
from tests.chaos.kit import Desk, Recorder, desk_at, quick, until
from tests.integration.command import NOWHERE, Done, ran_here

from microbatch.common.connection import Connection, Endpoint
from microbatch.console.admin import Admin
from microbatch.console.doctor.checks import diagnose
from microbatch.console.doctor.examiner import Examiner
from microbatch.console.doctor.gathering import Scope, gather
from microbatch.console.doctor.roles import EXAMPLES, ROLES, vectors
from microbatch.producer import AsyncClient
from microbatch.worker import Schedule, Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from microbatch.console.doctor.finding import Finding

GOOD = {
    "maxmemory": "100mb",
    "maxmemory-policy": "noeviction",
    "appendonly": "yes",
    "appendfsync": "everysec",
    "hash-max-listpack-value": "1024",
    "save": "",
}
ALL_ROLES = tuple(role.name for role in ROLES)
LIMIT_S = 10.0


@pytest.fixture
def server(any_redis_url: str) -> Iterator[redis.Redis]:
    """A server set up well; afterwards it is as it was."""
    with redis.Redis.from_url(any_redis_url, protocol=2, decode_responses=True) as client:
        before = {name: client.config_get(name)[name] for name in GOOD}
        client.config_set("maxmemory-policy", "noeviction")
        for name, value in GOOD.items():
            client.config_set(name, value)
        yield client
        for name, value in before.items():
            client.config_set(name, value)
        for user in client.acl_users():
            if user != "default":
                client.acl_deluser(user)
        client.flushall()


@pytest.fixture
def desk(server: redis.Redis, any_redis_url: str) -> Iterator[Desk]:
    with desk_at(any_redis_url, "work") as found:
        yield found


async def examine(
    url: str,
    *queues: str,
    user: str | None = None,
    clock_s: Callable[[], float] = time.time,
    limit_s: float = LIMIT_S,
) -> list[Finding]:
    connection = Connection(Endpoint(url, 5.0, "test"))
    try:
        scope = Scope(queues, ALL_ROLES, user, limit_s, url)
        return diagnose(await gather(Examiner(connection), scope, wall_clock_s=clock_s))
    finally:
        await connection.close()


def bad(findings: list[Finding]) -> list[str]:
    """What is not in order, without the holes of the version, which the test cannot choose."""
    return [
        f"{each.severity} {each.check}: {each.fact}"
        for each in findings
        if each.severity != "ok" and "CVE-" not in each.fact
    ]


def as_user(url: str, name: str) -> str:
    return url.replace("unix://", f"unix://{name}:secret@")


async def test_a_deployment_that_is_set_up_well_and_works_has_no_finding(desk: Desk) -> None:
    desk.redis.sadd("mb:queues", "work")
    async with Worker([Recorder(max_wait_ms=0)], settings=quick(desk.url)):
        jobs = desk.submit(1, 2)
        await until(lambda: desk.are_final(jobs))
        findings = await examine(desk.url)

    assert bad(findings) == []
    assert any("workers alive: 1" in each.fact for each in findings)


async def test_it_changes_nothing(desk: Desk) -> None:
    desk.submit(1)
    desk.redis.sadd("mb:queues", "work")
    before = {key: desk.redis.dump(key) for key in desk.redis.scan_iter()}

    await examine(desk.url)

    assert {key: desk.redis.dump(key) for key in desk.redis.scan_iter()} == before


async def test_a_server_set_up_like_a_cache_is_told_so(server: redis.Redis, any_redis_url: str) -> None:
    server.config_set("maxmemory-policy", "allkeys-lru")
    server.config_set("appendonly", "no")

    found = "\n".join(bad(await examine(any_redis_url)))

    assert "error memory: maxmemory-policy is allkeys-lru" in found
    assert "error persistence: nothing is kept on disk" in found


async def test_a_clock_that_is_off_is_told(server: redis.Redis, any_redis_url: str) -> None:
    (finding,) = bad(await examine(any_redis_url, clock_s=lambda: time.time() + 90))

    assert finding.startswith("error clock: Redis's clock is ")
    assert "behind this host's" in finding
    assert 89 < float(finding.split()[5]) < 91


async def test_what_a_dead_worker_holds_is_told(desk: Desk) -> None:
    desk.redis.sadd("mb:queues", "work")
    desk.submit(1, 2)
    desk.redis.xreadgroup("workers", "dead", {desk.keys.lane("main"): ">"}, count=2)
    desk.redis.zadd(desk.keys.workers, {"dead": time.time() * 1000 - 60_000})

    (finding,) = bad(await examine(desk.url))

    assert finding.startswith("error workers: jobs held by dead, silent for ")
    assert "no worker lives" in finding


async def test_a_schedule_that_nobody_sees_to_is_told(desk: Desk) -> None:
    async with Admin(desk.url) as admin:
        schedules = admin.schedules("work")
        await schedules.put(Schedule("nightly", queue="work", every_s=3_600))
        desk.redis.zadd(desk.keys.schedules, {"nightly": 1})
        (finding,) = [each for each in await examine(desk.url) if each.check == "schedules"]
        assert "nightly" in finding.fact
        await schedules.pause("nightly")
        assert [each for each in await examine(desk.url) if each.check == "schedules"] == []


async def test_a_consumer_that_nobody_knows_is_told_and_the_remedy_helps(desk: Desk) -> None:
    desk.redis.sadd("mb:queues", "work")
    jobs = desk.submit(1)
    desk.redis.xreadgroup("workers", "ghost", {desk.keys.lane("main"): ">"})
    (finding,) = [each for each in await examine(desk.url) if each.check == "workers"]
    assert "no heartbeat at all" in finding.fact
    command, _, _ = finding.remedy.partition(";")

    desk.redis.execute_command(*command.split())
    async with Worker([Recorder(max_wait_ms=0)], settings=quick(desk.url, heartbeat_limit_s=1)):
        await until(lambda: desk.are_final(jobs))


async def test_broken_and_orphaned_keys_are_told(desk: Desk) -> None:
    desk.submit(1)
    prefix = desk.keys.prefix
    desk.redis.set(desk.keys.tombstones, "oops")
    desk.redis.hset(desk.keys.job("done"), mapping={"state": "succeeded", "entry": ""})
    desk.redis.hset(desk.keys.job("lost"), mapping={"state": "queued", "entry": "main:1-1"})
    desk.redis.hset(desk.keys.batches("nobody"), "b", "1 size main:1-1")

    found = "\n".join(bad(await examine(desk.url, "work")))

    assert f"error queue: {prefix}tombstones holds a string instead of a set" in found
    assert f"stay for ever: {prefix}job:done" in found
    assert f"JobLost): {prefix}job:lost" in found
    assert f"whose worker is unknown: {prefix}batches:nobody" in found
    assert "warn queue: it is not in mb:queues" in found


async def test_a_list_of_queues_that_is_none_is_told(server: redis.Redis, any_redis_url: str) -> None:
    server.set("mb:queues", "oops")

    assert any("mb:queues holds something else" in each for each in bad(await examine(any_redis_url)))


# --- rights ----------------------------------------------------------------------------------


def grant(server: redis.Redis, name: str, *roles: str, url: str, queue: str = "work") -> None:
    """A user with exactly the rights that the table says."""
    rights = {right for role in ROLES if role.name in roles for right, _ in vectors(role, queue, url)}
    known = [f"+{right}" for right in sorted(rights) if is_known(server, right)]
    rules = ["on", ">secret", "-@all", "resetchannels", f"~mb:{{{queue}}}:*", "~mb:queues", *known]
    server.execute_command("ACL", "SETUSER", name, *rules, f"&mb:{{{queue}}}:*")


def is_known(server: redis.Redis, right: str) -> bool:
    try:
        server.execute_command("ACL", "SETUSER", "probe", f"+{right}")
    except redis.ResponseError:
        return False
    return True


def test_the_table_s_examples_are_calls_that_servers_understand(server: redis.Redis) -> None:
    for right, examples in EXAMPLES.items():
        for example in examples:
            words = [word.replace("{q}", "mb:{work}:") for word in example]
            if right != "client|setinfo":  # since 7.2
                assert server.execute_command("ACL", "DRYRUN", "default", *words) == "OK"


async def test_users_with_just_the_rights_of_the_table_can_do_their_work(
    server: redis.Redis, any_redis_url: str
) -> None:
    """Nothing that our code sends is missing in it: Redis logs every refusal."""
    grant(server, "app", "worker", url=any_redis_url)
    grant(server, "client", "producer", "observer", url=any_redis_url)
    server.execute_command("ACL", "LOG", "RESET")

    async with (
        Worker([Recorder(max_wait_ms=0)], settings=quick(as_user(any_redis_url, "app"), heartbeat_limit_s=1)),
        AsyncClient(as_user(any_redis_url, "client")) as client,
    ):
        assert await client.call("work", 1, timeout_s=30) == 1
        job = await client.submit("work", 2)
        assert await client.job(job.id).result(timeout_s=30) == 2
        assert (await job.status()).state == "succeeded"
        assert await client.queues() == ["work"]
        assert (await client.queue_status("work")).workers == 1

    assert [entry["object"] for entry in log_of(server)] == []


def log_of(server: redis.Redis) -> list[dict[str, Any]]:
    """Refusals, but of what redis-py tells about itself: servers before 7.2 do not know it."""
    entries: list[dict[str, Any]] = server.acl_log()
    return [entry for entry in entries if not str(entry["object"]).startswith("client")]


async def test_a_user_who_lacks_a_command_a_key_or_a_channel_is_told_each(
    server: redis.Redis, any_redis_url: str
) -> None:
    server.sadd("mb:queues", "work", "other")
    grant(server, "app", *ALL_ROLES, url=any_redis_url)
    server.execute_command("ACL", "SETUSER", "app", "-xack", "resetchannels")

    found = [each for each in bad(await examine(any_redis_url, user="app")) if "access" in each]

    assert len(found) == len(ALL_ROLES)
    assert "xack" in found[1]
    assert "~mb:{other}:*" in found[1]
    assert "&mb:{work}:*" in found[1]
    assert "xadd" not in found[1]


async def test_where_a_dry_run_is_refused_the_rules_are_read_and_say_the_same(
    server: redis.Redis, any_redis_url: str
) -> None:
    server.sadd("mb:queues", "work", "other")
    grant(server, "app", *ALL_ROLES, url=any_redis_url)
    server.execute_command("ACL", "SETUSER", "app", "-xack", "+acl|whoami")
    by_dry_run = [each.fact for each in await examine(any_redis_url, user="app") if each.check == "access"]

    server.execute_command("ACL", "SETUSER", "app", "+acl|getuser", "+acl|cat")
    findings = await examine(as_user(any_redis_url, "app"))
    by_rules = [each.fact for each in findings if each.check == "access"]

    assert by_rules == by_dry_run
    assert ["xack" in fact for fact in by_rules] == ["as observer" not in fact for fact in by_rules]


async def test_a_user_who_may_not_look_is_told_that_his_rights_are_unknown(
    server: redis.Redis, any_redis_url: str
) -> None:
    grant(server, "app", *ALL_ROLES, url=any_redis_url)

    findings = await examine(as_user(any_redis_url, "app"), "work")

    (access,) = [each for each in findings if each.check == "access"]
    assert access.fact.startswith("cannot tell what this user may do: ")
    assert not any(each.severity == "error" for each in findings if each.check != "queue")
    assert any("does not tell its version" in each.fact for each in findings)


# --- the command -----------------------------------------------------------------------------


def doctor(url: str, here: Path, *words: object) -> Done:
    return ran_here("doctor", *words, redis_url=url, here=here)


def test_the_exit_code_tells_whether_there_is_an_error(
    server: redis.Redis, any_redis_url: str, tmp_path: Path
) -> None:
    code, out, err = doctor(any_redis_url, tmp_path)
    assert (code, err) == (0, [])
    assert out[-1].startswith("0 errors, ")

    server.config_set("maxmemory-policy", "volatile-lru")
    code, out, _ = doctor(any_redis_url, tmp_path, "--json")
    assert code == 1
    report = json.loads("\n".join(out))
    assert report["errors"] == 1
    (found,) = [each for each in report["findings"] if each["severity"] == "error"]
    assert found["check"] == "memory"
    assert "noeviction" in found["remedy"]


def test_a_queue_that_is_not_there_is_an_error(
    server: redis.Redis,
    any_redis_url: str,
    tmp_path: Path,
) -> None:
    server.sadd("mb:queues", "work")

    code, out, _ = doctor(any_redis_url, tmp_path, "wrok")

    assert code == 1
    assert any("there is no such queue" in line for line in out)


def test_a_queue_that_somebody_forgot_to_resume_is_a_warning_that_says_how(
    desk: Desk, any_redis_url: str, tmp_path: Path
) -> None:
    desk.submit(1)
    desk.redis.sadd("mb:queues", "work")
    long_ago_ms = round((time.time() - 7_200) * 1000)
    desk.redis.hset(desk.keys.gate, "paused", f"{long_ago_ms} ops@here")

    _, out, _ = doctor(any_redis_url, tmp_path, "work")

    (line,) = [line for line in out if "paused for 120." in line]
    assert "by ops@here; jobs waiting: 1" in line
    assert any("`microbatch queue resume work` lets them go" in line for line in out)


def test_only_the_roles_that_are_named_are_required(
    server: redis.Redis, any_redis_url: str, tmp_path: Path
) -> None:
    grant(server, "app", "producer", url=any_redis_url)
    server.sadd("mb:queues", "work")

    assert doctor(any_redis_url, tmp_path, "--user", "app", "--role", "producer")[0] == 0
    assert doctor(any_redis_url, tmp_path, "--user", "app", "--role", "worker")[0] == 1


def test_an_unreachable_server_a_wrong_password_and_a_wrong_name_have_their_own_codes(
    server: redis.Redis, any_redis_url: str, tmp_path: Path
) -> None:
    assert doctor(NOWHERE, tmp_path, "--connect-timeout-s", "0")[0] == 69
    server.execute_command("ACL", "SETUSER", "app", "on", ">other")
    code, _, err = doctor(as_user(any_redis_url, "app"), tmp_path)
    assert code == 2
    assert len(err) == 1
    assert doctor(any_redis_url, tmp_path, "not/a/queue")[0] == 2


def test_status_names_a_key_that_something_else_overwrote_and_tells_the_rest(
    desk: Desk, any_redis_url: str, tmp_path: Path
) -> None:
    desk.submit(1)
    desk.redis.sadd("mb:queues", "work")
    desk.redis.set(desk.keys.tombstones, "oops")

    done = ran_here("status", "work", "--json", redis_url=any_redis_url, here=tmp_path)

    assert done.code == 0
    (row,) = json.loads("\n".join(done.out))
    assert (row["waiting"], row["foreign"]) == (1, ["mb:{work}:tombstones"])
    assert done.err == [
        "microbatch status: mb:{work}:tombstones holds something that is not ours; see microbatch doctor"
    ]
