"""The table of what each role sends, compared with the code that sends it; and the reading of ACL rules."""

from __future__ import annotations

import ast
import re
from importlib.resources import files
from pathlib import Path

import pytest

from microbatch.common import scripts
from microbatch.common.scripts import load
from microbatch.console.doctor.acl_rules import AclRules
from microbatch.console.doctor.command import ROLE_NAMES
from microbatch.console.doctor.roles import (
    CONTAINERS,
    EXAMPLES,
    ROLES,
    Role,
    commands_of_script,
    sent_by_connections,
    vectors,
)

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted(path.name[:-4] for path in files(scripts).iterdir() if path.name.endswith(".lua"))
BY_NAME = {role.name: role for role in ROLES}
USERS = {
    # Each package, and the roles that its users may have: a client library also looks and acts.
    "producer": ("producer", "observer", "operator"),
    "worker": ("worker",),
    "console": ("producer", "observer", "operator"),
}
URL = "redis://h"


def used_scripts(package: str) -> set[str]:
    """The scripts that a package calls: imported by name, or as an attribute of `scripts`."""
    used = set()
    for path in (ROOT / package).rglob("*.py"):
        if "doctor" in path.relative_to(ROOT).parts:
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module == "microbatch.common.scripts":
                used |= {alias.name for alias in node.names}
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                used |= {node.attr} if node.value.id == "scripts" else set()
    return used & set(SCRIPTS)


def commands_in(folder: Path) -> set[str]:
    """The commands that Python code sends itself: capital words that begin a call or a tuple."""
    found = set()
    for path in folder.rglob("*.py"):
        if {"doctor", "embedded"} & set(
            path.relative_to(ROOT).parts
        ):  # the one only looks; the other has its own server
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            first: list[ast.expr] = []
            if isinstance(node, ast.Call):
                first = node.args[:1]
            elif isinstance(node, ast.Tuple):
                first = node.elts[:1]
            words = {str(each.value) for each in first if isinstance(each, ast.Constant)}
            found |= {word for word in words if word.isupper() and word.lower() in KNOWN}
    return found


KNOWN = {right.partition("|")[0].partition(":")[0] for right in EXAMPLES} | {
    *(
        "xautoclaim",
        "xclaim",
        "xread",
        "wait",
        "info",
        "config",
        "eval",
        "function",
        "fcall",
        "flushall",
        "keys",
    ),
    *("scan", "rename", "lpush", "brpop", "blpop", "incr", "expire", "mget", "mset", "setex", "sentinel"),
    *("unsubscribe", "psubscribe", "ssubscribe", "multi", "exec", "watch", "hello", "auth"),
}


def test_every_script_belongs_to_a_role_and_every_script_of_a_role_exists() -> None:
    listed = {script for role in ROLES for script in role.scripts}

    assert listed == set(SCRIPTS)


@pytest.mark.parametrize("package", USERS)
def test_the_scripts_that_a_package_calls_are_in_its_roles(package: str) -> None:
    allowed = {script for role in USERS[package] for script in BY_NAME[role].scripts}

    assert used_scripts(package) - allowed == set()


@pytest.mark.parametrize("package", USERS)
def test_the_commands_that_a_package_sends_are_in_its_roles(package: str) -> None:
    allowed = {right.partition(":")[0] for role in USERS[package] for right in BY_NAME[role].commands}
    allowed |= {right.partition("|")[0] for right in sent_by_connections(URL)}

    assert {command.lower() for command in commands_in(ROOT / package)} - allowed == set()


def test_the_commands_that_connections_send_are_in_the_table() -> None:
    sent = {command.lower() for command in commands_in(ROOT / "common")}
    listed = {"subscribe", "unsubscribe", "sadd", "smembers", "set", "wait"}  # by the roles
    for url in ("redis+sentinel://h/s/1", "redis+cluster://h"):
        listed |= {right.partition("|")[0] for right in sent_by_connections(url)}

    assert {"evalsha", "script", "role", "asking"} <= sent
    assert sent - {"sentinel"} - listed == set()  # a sentinel has users of its own


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_command_of_a_script_is_found_in_its_text_and_has_an_example(name: str) -> None:
    code = re.sub(r"--.*", "", load(name).text)
    # Whatever is called is a literal, or a list that begins with one.
    calls = re.findall(r"\b(?:redis\.p?call|(?<![\w.])call)\(\s*([^,)]+)", code)
    assert calls
    assert {call for call in calls if not call.startswith("'")} <= {"unpack(command", "..."}
    if "unpack(command" in calls:
        assert "xreadgroup" in commands_of_script(name)
    assert commands_of_script(name) <= EXAMPLES.keys()
    assert {call[1:-1].lower() for call in calls if call.startswith("'")} <= {
        right.partition("|")[0] for right in commands_of_script(name)
    }


def test_examples_are_calls_of_the_right_that_they_stand_for() -> None:
    for right, examples in EXAMPLES.items():
        command, _, second = right.partition(":")[0].partition("|")
        for example in examples:
            assert example[0].lower() == command
            assert (command.upper() in CONTAINERS) == bool(second)
            assert not second or example[1].lower() == second


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_a_role_has_every_key_of_its_examples_in_its_queue(role: Role) -> None:
    sent = list(vectors(role, "q", URL))

    assert ("ping", ("PING",)) in sent
    keys = {word for _, example in sent for word in example if word.startswith("mb:")}
    assert all(key.startswith("mb:{q}:") or key == "mb:queues" for key in keys)
    assert "{q}" not in "".join(keys).replace("mb:{q}:", "")


@pytest.mark.parametrize(
    ("url", "more"),
    [
        ("redis://h:6379", set()),
        ("redis://h:6379/0", set()),
        ("redis://h:6379/3", {"select"}),
        ("unix:///tmp/s?db=2", {"select"}),
        ("unix:///tmp/7", set()),
        ("redis+sentinel://h:1,i:2/service/1", {"role", "select"}),
        ("rediss+cluster://h:1", {"cluster|slots", "asking"}),
    ],
)
def test_what_connections_send_depends_on_the_url(url: str, more: set[str]) -> None:
    sent = set(sent_by_connections(url)) - set(sent_by_connections(URL))

    assert sent - {"select"} == more - {"select"}
    assert url == "unix:///tmp/7" or ("select" in sent) == ("select" in more)


def test_the_command_offers_the_roles_of_the_table() -> None:
    assert tuple(BY_NAME) == ROLE_NAMES


# --- reading rules ---------------------------------------------------------------------------


def rules(commands: str = "", keys: str = "", channels: str = "") -> AclRules:
    return AclRules(commands, keys, channels, {"stream": frozenset({"xack", "xgroup"})})


@pytest.mark.parametrize(
    ("commands", "right", "allowed"),
    [
        ("+@all", "xack", True),
        ("-@all", "xack", False),
        ("-@all +@stream", "xack", True),
        ("-@all +@stream -xack", "xack", False),
        ("-@all +@stream", "xgroup|create", True),
        ("-@all +xgroup|create", "xgroup|create", True),
        ("-@all +xgroup|create", "xgroup|destroy", False),
        ("+@all -xgroup|create", "xgroup|create", False),
        ("-@all +@unheard", "xack", False),
    ],
)
def test_the_last_rule_that_fits_a_command_decides(commands: str, right: str, allowed: bool) -> None:  # noqa: FBT001 - a column
    assert rules(commands).allows_command(right) is allowed


@pytest.mark.parametrize(
    ("keys", "allowed"),
    [
        ("~*", True),
        ("~mb:*", True),
        ("~mb:{q}:*", True),
        ("~mb:{r}:*", False),
        ("%R~mb:*", False),
        ("%RW~mb:*", True),
        (r"~mb:\{q\}:*", True),
        ("~mb:{[pq]}:*", True),
        ("~mb:?q}:*", True),
        ("", False),
    ],
)
def test_a_key_needs_a_pattern_that_lets_read_and_write(keys: str, allowed: bool) -> None:  # noqa: FBT001 - a column
    assert rules(keys=keys).allows_key("mb:{q}:lane:main") is allowed


def test_a_channel_needs_a_pattern() -> None:
    assert rules(channels="&mb:{q}:*").allows_channel("mb:{q}:wake:w")
    assert not rules(channels="&mb:{r}:*").allows_channel("mb:{q}:wake:w")
