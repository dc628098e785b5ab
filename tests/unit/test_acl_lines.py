"""The users of `deploy/redis/users.acl`: what each may send is what its roles and the doctor send."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from microbatch.console.doctor.acl_lines import EXAMINING, USERS, acl_lines, password_mark, rights_of_user
from microbatch.console.doctor.roles import CONTAINERS, OPTIONAL, ROLES, vectors
from microbatch.console.main import main

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
DOCTOR = ROOT / "console" / "microbatch" / "console" / "doctor"


def asked_by_the_doctor() -> Iterator[str]:
    """The commands in calls of `ask`, in the words of ACL rules."""
    for path in DOCTOR.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == "ask"
            ):
                words = [each.value for each in node.args if isinstance(each, ast.Constant)]
                is_container = words[0] in CONTAINERS | {"ACL", "CONFIG"}
                yield "|".join(map(str, words[: 2 if is_container else 1])).lower()


def test_the_file_in_deploy_is_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["acl"]) == 0

    assert (ROOT / "deploy" / "redis" / "users.acl").read_text() == capsys.readouterr().out, (
        "the roles have changed: microbatch acl > deploy/redis/users.acl"
    )


def test_every_role_has_a_user() -> None:
    assert {role for roles in USERS.values() for role in roles} == {role.name for role in ROLES}


@pytest.mark.parametrize("user", USERS)
def test_a_user_may_send_what_its_roles_send_over_any_connection(user: str) -> None:
    needed = {
        right
        for role in ROLES
        if role.name in USERS[user]
        for url in ("redis://h/1", "redis+sentinel://h/s", "redis+cluster://h")
        for right, _ in vectors(role, "q", url)
        if right[0] != "("  # a set of rules that stands by itself
    }
    if user == "admin":
        assert set(rights_of_user(user)) >= needed - OPTIONAL
    else:
        assert set(rights_of_user(user)) == needed - OPTIONAL


def test_the_doctor_asks_nothing_that_an_admin_may_not() -> None:
    asked = set(asked_by_the_doctor())

    assert {"info", "config|get", "acl|dryrun", "scan"} <= asked
    assert asked - set(EXAMINING) == set()
    assert set(EXAMINING) - asked == {"time"}  # what its script calls


def test_users_of_some_queues_get_the_keys_of_these_alone() -> None:
    _, *lines = acl_lines(["embed", "index"])

    for line in lines:
        words = line.partition("(")[0].split()
        assert [word for word in words if word[0] in "~&%"] == [
            *("~mb:{embed}:*", "~mb:{index}:*", "~mb:queues"),
            *("&mb:{embed}:*", "&mb:{index}:*"),
        ]


def test_only_the_observer_has_rules_of_their_own_for_keys_that_say_who_wants_to_be_told() -> None:
    told = "~mb:{%s}:listeners ~mb:{%s}:watchers resetchannels -@all +hdel +hset +pexpire"
    for queues, names in (((), "*"), (("embed", "index"), "embed index")):
        selectors = {line.split()[1]: re.findall(r"\(([^)]*)\)", line) for line in acl_lines(queues)}
        assert {user: found for user, found in selectors.items() if found} == {
            "observer": [told % (name, name) for name in names.split()]
        }


def test_nobody_comes_in_without_a_name_and_no_line_holds_a_password() -> None:
    first, *lines = acl_lines()

    assert first == "user default reset"
    for user, line in zip(USERS, lines, strict=True):
        assert line.startswith(f"user {user} on {password_mark(user)} ~")
        assert "nopass" not in line
        assert not any(word.startswith((">", "+@")) for word in line.split())


def test_a_wrong_queue_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["acl", "a/b"]) == 2
    assert "a/b" in capsys.readouterr().err
