"""The scripts as files, and the keys that they build: rules that no server is needed to check."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest
from redis.crc import key_slot

from microbatch.common import scripts
from microbatch.common.keys import LANES, QueueKeys
from microbatch.common.scripts import load

_FOLDER = files(scripts)
NAMES = sorted(path.name.removesuffix(".lua") for path in _FOLDER.iterdir() if path.name.endswith(".lua"))
INCLUDES = sorted(path.name for path in (_FOLDER / "include").iterdir() if path.name.endswith(".lua"))
LUA_VALUES_LIMIT = 8_000


def _source(name: str) -> str:
    return (_FOLDER / f"{name}.lua").read_text("utf-8")


def _code(text: str) -> str:
    return re.sub(r"--.*", "", text)


def test_every_script_has_a_wrapper_of_its_name() -> None:
    assert len(NAMES) == 38
    for name in NAMES:
        assert callable(getattr(scripts, name))


@pytest.mark.parametrize("name", NAMES)
def test_a_script_begins_with_its_contract(name: str) -> None:
    head = _source(name).partition("\n-- @include")[0].splitlines()
    assert head[0].startswith(f"-- {name}: ")
    assert all(line.startswith("--") for line in head)
    places = [
        i
        for i, line in enumerate(head)
        for word in ("Keys:", "Args:", "Returns:", "Atomic because:")
        if line.startswith(f"-- {word}")
    ]
    assert len(places) == 4
    assert places == sorted(places)


@pytest.mark.parametrize("name", INCLUDES)
def test_an_include_begins_with_its_purpose(name: str) -> None:
    text = (_FOLDER / "include" / name).read_text("utf-8")
    assert text.startswith(f"-- {name.removesuffix('.lua')}: ")


@pytest.mark.parametrize("name", NAMES)
def test_a_script_uses_nothing_that_costs_portability_or_scans(name: str) -> None:
    text = load(name).text
    code = _code(text)
    assert not text.startswith("#!")
    assert not re.search(r"'(KEYS|SCAN|HSCAN|SSCAN|ZSCAN|SORT|EVAL|SELECT|XCLAIM|XAUTOCLAIM)'", code)
    assert not re.search(r"\b(cjson|cmsgpack|struct|bit|setresp|loadstring)\b", code)
    assert "@include" not in text


@pytest.mark.parametrize("name", NAMES)
def test_a_script_takes_one_key_and_builds_the_others_from_it(name: str) -> None:
    code = _code(load(name).text)
    assert set(re.findall(r"KEYS\[(\d+)\]", code)) == {"1"}
    assert "mb:" not in code


@pytest.mark.parametrize("name", NAMES)
def test_an_include_comes_once_and_after_what_it_needs(name: str) -> None:
    included = re.findall(r"^-- @include (\w+)$", _source(name), re.MULTILINE)
    assert included[0] == "base"
    assert len(included) == len(set(included))
    needs = {
        "reply": {"history"},
        "lanes": {"backlog"},
        "turns": {"lanes"},
        "allowance": {"lanes"},
        "precedence": {"gate", "lanes", "history", "park", "turns", "allowance", "intake"},
        "carried": {"lanes"},
        "wake": {"backlog"},
        "finish": {"reply"},
        "park": {"backlog", "wake", "history"},
        "move": {"lanes", "history"},
        "withdraw": {"move", "park"},
        "overdue": {"finish", "withdraw", "carried"},
        "unique": {"carried"},
        "schedule": {"park"},
        "crash": {"finish", "move", "dead"},
        "orders": set(),
    }
    for place, include in enumerate(included):
        assert needs.get(include, set()) <= set(included[:place])


@pytest.mark.parametrize("name", NAMES)
def test_all_top_level_names_are_local(name: str) -> None:
    for line in _code(load(name).text).splitlines():
        assert not re.match(r"function\b", line)


@pytest.mark.parametrize("name", NAMES)
def test_chunks_stay_below_luas_limit(name: str) -> None:
    limits = [int(n) for n in re.findall(r"\bCHUNK\b[^=\n]*= (?:\d+, )*?(\d+)", _code(load(name).text))]
    assert all(limit < LUA_VALUES_LIMIT for limit in limits)


@pytest.mark.parametrize("queue", ["q", "a.b:c-d_e", "x" * 128, "orders"])
def test_every_key_and_channel_of_a_queue_is_in_one_slot(queue: str) -> None:
    keys = QueueKeys(queue)
    names = [
        keys.prefix,
        keys.job("a"),
        keys.batches("host:1:2"),
        keys.orders("host:1:2"),
        keys.acks("0"),
        keys.wake_channel("host:1:2"),
        keys.reply_channel("c"),
        *(keys.lane(lane) for lane in LANES),
        *(getattr(keys, name) for name in vars(QueueKeys) if isinstance(vars(QueueKeys)[name], property)),
    ]
    assert len(names) >= 16
    assert {key_slot(name.encode()) for name in names} == {key_slot(queue.encode())}


def test_the_scripts_build_the_same_keys_as_the_python_side() -> None:
    keys = QueueKeys("q")
    python = {
        value.removeprefix(keys.prefix)
        for value in (
            *(getattr(keys, name) for name in vars(QueueKeys) if isinstance(vars(QueueKeys)[name], property)),
            keys.job(""),
            keys.lane(""),
            keys.ready(""),
            keys.bucket(""),
            keys.batches(""),
            keys.offer(""),
            keys.orders(""),
            keys.acks(""),
            keys.wake_channel(""),
            keys.reply_channel(""),
            keys.aside(""),
            keys.events_channel("x").removesuffix("x"),
            keys.events_channel(),
            keys.schedule(""),
        )
    }
    lua = {suffix for name in NAMES for suffix in re.findall(r"Q \.\. '([^']+)'", load(name).text)}
    assert lua <= python
