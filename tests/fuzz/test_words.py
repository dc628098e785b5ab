"""Every reader of text that people, environments and other programs write, and of what servers answer."""

from __future__ import annotations

import contextlib
import os
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fuzz.conftest import FUZZED
from tests.fuzz.hostile import VALUES, texts

from microbatch.common.codec import encode
from microbatch.common.errors import PayloadError, SettingsError
from microbatch.common.identifiers import check_queue, split_job_id
from microbatch.common.redis_errors import NotPrimary
from microbatch.common.redis_url import check_redis_url, redact_url
from microbatch.common.settings import ClientSettings, RedisSettings, WorkerSettings
from microbatch.common.topology.inquiry import check_role
from microbatch.common.topology.site import Address
from microbatch.common.topology.slot_map import SlotMap
from microbatch.console.json_values import BadJson, json_text, parse_json
from microbatch.console.terminal import escaped, table

SECRET = "hunter2hunter2"  # noqa: S105 - the tests look for it
URLS = [
    "redis://u:p@h:6379/0",
    "rediss+sentinel://a:1,b:2/s/0?db=1",
    "redis+cluster://h:1,[::1]:2",
    "embedded://",
]
FIELDS = sorted({*ClientSettings.model_fields, *WorkerSettings.model_fields} - {"queue", "origins"})


@FUZZED
@given(texts("lots/0190b", "q/x", "q/", "/", "q/x/y", "a{b}/c"))
def test_a_job_id(text: str) -> None:
    with contextlib.suppress(ValueError):
        queue, local = split_job_id(text)
        assert f"{queue}/{local}" == text
        assert text.isprintable()
    with contextlib.suppress(ValueError):
        assert not set(check_queue(text)) & set("{}/ \n")


@FUZZED
@given(texts('{"a": [1, {"$bytes": "aGk="}]}', '{"$float": "NaN"}', "[" * 5_000, "1e999", "9" * 5_000))
def test_json_of_the_command_line(text: str) -> None:
    with contextlib.suppress(BadJson, PayloadError):
        value = parse_json(text)
        encode(value)
        assert json_text(value).isprintable()


@FUZZED
@given(texts(*URLS))
def test_an_address(text: str) -> None:
    with contextlib.suppress(ValueError):
        check_redis_url(text)
    redact_url(text)


@FUZZED
@given(st.sampled_from(["redis", "rediss", "redis+sentinel"]), texts("h:6379/0", "h:1,i:2/s", "h/0?db=1"))
def test_no_address_shows_its_password(scheme: str, rest: str) -> None:
    assert SECRET not in redact_url(f"{scheme}://user:{SECRET}@{rest}")
    assert SECRET not in redact_url(f"{scheme}://{rest}?sentinel_password={SECRET}")


@FUZZED
@given(
    st.sampled_from(FIELDS),
    texts("5", "-1", "nan", "inf", "1e400", "0x10", "9" * 5_000, "\u0663", "true", "[1]").filter(
        lambda text: "\0" not in text and text.isprintable()
    ),
    st.sampled_from([ClientSettings, WorkerSettings]),
)
def test_a_variable(name: str, text: str, cls: type[RedisSettings]) -> None:
    with (
        patch.dict(os.environ, {f"MICROBATCH_{name.upper()}": text}, clear=True),
        contextlib.suppress(SettingsError),
    ):
        cls()


@FUZZED
@given(st.one_of(VALUES, st.lists(st.tuples(st.integers(), st.integers(), VALUES).map(list), max_size=3)))
def test_what_a_server_says_of_itself_and_its_cluster(reply: Any) -> None:
    with contextlib.suppress(NotPrimary):
        check_role(reply)
    seed = Address("h", 1)
    slots = SlotMap([seed])
    survey = slots.survey(None)
    next(survey)
    with contextlib.suppress(Exception):
        survey.send(reply)
    assert slots.nodes


@FUZZED
@given(st.lists(st.text(max_size=30), min_size=1, max_size=4))
def test_no_character_of_a_name_steers_the_terminal(names: list[str]) -> None:
    for name in names:
        assert escaped(name).isprintable()
    assert all(line.isprintable() for line in table(["name"], [[name] for name in names]).split("\n"))


def test_the_profile_is_in_force() -> None:
    assert FUZZED.deadline is None
    with pytest.raises(AssertionError):
        FUZZED(given(st.just(1))(_never))()


def _never(value: int) -> None:
    raise AssertionError(value)
