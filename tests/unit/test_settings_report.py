"""What settings tell people: errors, warnings, the rows of `microbatch config`, and never a secret."""

import logging
import os
import re
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch.common.errors import SettingsError
from microbatch.common.settings import (
    ClientSettings,
    QueueOverrides,
    UnknownSettingWarning,
    WorkerSettings,
    queue_settings,
    redact_url,
)
from microbatch.common.settings import sources as settings_sources
from microbatch.common.settings.report import SettingRow, effective_settings


@pytest.fixture(autouse=True)
def _nothing_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(settings_sources, "_warned", set())
    for name in [name for name in os.environ if name.upper().startswith("MICROBATCH_")]:
        monkeypatch.delenv(name)


# --- errors ---------------------------------------------------------------------------------


def declared(**values: object) -> object:
    return queue_settings("a", settings=WorkerSettings(), declared=values)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (
            lambda: WorkerSettings(max_wait_ms=-1),
            "max_wait_ms is -1, it must be a number of milliseconds from 0 to 3,600,000",
        ),
        (
            lambda: WorkerSettings(max_batch_size=0),
            "max_batch_size is 0, it must be a whole number from 1 to 10,000",
        ),
        (
            lambda: WorkerSettings(heartbeat_limit_s=float("nan")),
            "heartbeat_limit_s is nan, it must be a number of seconds from 1 to 3,600",
        ),
        (
            lambda: ClientSettings(result_ttl_s=float("inf")),
            "result_ttl_s is inf, it must be a number of seconds from 0 to 315,360,000",
        ),
        (
            lambda: QueueOverrides(max_attempts=0),
            "max_attempts is 0, it must be a whole number from 1 to 1,000",
        ),
        (
            lambda: declared(on_batch_error="explode"),
            "on_batch_error is 'explode', it must be 'bisect', 'fail' or 'retry'",
        ),
        (
            lambda: WorkerSettings(executor="gpu"),  # type: ignore[arg-type]
            "executor is 'gpu', it must be 'thread' or 'process'",
        ),
        (
            lambda: WorkerSettings(batch_timeout_s=0),
            "batch_timeout_s is 0, it must be a number of seconds from 0.01 to 86,400",
        ),
        (
            lambda: QueueOverrides(max_result_bytes=0),
            "max_result_bytes is 0, it must be a whole number of bytes from 1 to 67,108,864",
        ),
        (
            lambda: WorkerSettings(queue={"a-b": {"concurrency": 0}}),  # type: ignore[dict-item]
            "queue.A_B.concurrency is 0, it must be a whole number from 1 to 1,000",
        ),
        (lambda: WorkerSettings(queue={"a b": QueueOverrides()}), "queue: a queue name has 1 to 128 of"),
        (
            lambda: WorkerSettings(queue=5),  # type: ignore[arg-type]
            "queue is 5, it must be a mapping of queue names to QueueOverrides",
        ),
        (
            lambda: WorkerSettings(max_wait=3),  # type: ignore[call-arg]
            "max_wait is no setting; did you mean max_wait_ms?",
        ),
        (lambda: declared(max_wait_ms="soon"), "max_wait_ms is 'soon', it must be a number of milliseconds"),
        (
            lambda: WorkerSettings.from_command_line({"drain_timeout_s": -1}),
            "--drain-timeout-s is -1, it must be a number of seconds from 0 to 86,400",
        ),
        (
            lambda: queue_settings("a", settings=WorkerSettings(), cli={"concurrency": "many"}),
            "--concurrency is 'many', it must be a whole number from 1 to 1,000",
        ),
    ],
)
def test_a_value_that_cannot_be_used_is_one_line_with_name_value_and_bounds(
    make: Callable[[], object], sentence: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        make()

    assert str(caught.value).startswith(sentence)
    assert "\n" not in str(caught.value)


def test_a_wrong_variable_is_named_as_a_variable_and_all_wrong_ones_are_named_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Path(".env").write_text("MICROBATCH_MAX_WAIT_MS=soon\n")
    monkeypatch.setenv("MICROBATCH_QUEUE__a-b__CONCURRENCY", "0")
    with pytest.raises(SettingsError) as caught:
        WorkerSettings()

    assert set(str(caught.value).split("; ")) == {
        "MICROBATCH_MAX_WAIT_MS (.env) is 'soon', it must be a number of milliseconds from 0 to 3,600,000",
        "MICROBATCH_QUEUE__A_B__CONCURRENCY is '0', it must be a whole number from 1 to 1,000",
    }


# --- the address ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "redis://",
        "redis://localhost",
        "redis://user:p%40ss@host.example:6379/15?db=3",
        "rediss://:pw@[::1]:6380/0",
        "unix:///run/redis.sock?db=2",
        "unix://user:pw@/run/redis.sock",
        "embedded://",
        "embedded:///var/lib/microbatch",
        "redis+sentinel://one:26379,two:26380/main",
        "redis+sentinel://user:p%40ss@one,[::1]:26380/main/3?sentinel_password=x&sentinel_username=y",
        "rediss+sentinel://one/main?ssl_ca_certs=ca.pem",
        "redis+cluster://one,two:7001",
        "rediss+cluster://user:pw@one:7000/0?ssl_ca_certs=ca.pem",
    ],
)
def test_these_addresses_are_accepted(url: str) -> None:
    assert ClientSettings(redis_url=f"{url}\n").redis_url == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:6379",
        "http://localhost",
        "redis:localhost",
        "redis://localhost:port",
        "redis://localhost:0",
        "redis://localhost:65536",
        "redis://localhost/zero",
        "redis://:pa/ss@localhost",
        "unix://",
        "unix://run/redis.sock",
        "embedded://data",
        "embedded:///data?x=1",
        "redis+sentinel://",
        "redis+sentinel://one:0/main",
        "redis+cluster://one,two:70000",
        "redis+cluster://one?db=1",
        "redis+cluster://one?sentinel_password=x",
        "redis+other://one",
        "redis://one,two",
    ],
)
def test_these_addresses_are_refused(url: str) -> None:
    with pytest.raises(SettingsError, match=r"redis_url is .*, it must be redis:// or rediss://"):
        ClientSettings(redis_url=url)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("redis+sentinel://one:26379", "then the name of the service"),
        ("redis+sentinel://one:26379/main/x", "then the name of the service"),
        ("redis+cluster://one/1", "a cluster has no database but 0"),
        ("redis+cluster://one?db=1", "its parameters may be ssl_..."),
        ("redis+sentinel://one/main?pool=1", "sentinel_username and sentinel_password"),
        ("redis+sentinel://one:70000/main", "ports are 1 to 65,535"),
    ],
)
def test_a_refused_address_of_several_servers_is_told_what_is_missing(url: str, words: str) -> None:
    with pytest.raises(SettingsError, match="redis_url is .*, it must be .*" + re.escape(words)):
        ClientSettings(redis_url=url)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://localhost:6379/0", "redis://localhost:6379/0"),
        ("redis://user:secret@host:6379/0?db=1", "redis://user:***@host:6379/0?db=1"),
        ("rediss://:secret@[::1]:6380", "rediss://:***@[::1]:6380"),
        ("redis://secret@host", "redis://***@host"),
        ("redis://host?password=secret&db=1", "redis://host?password=***&db=1"),
        ("unix://user:secret@/run/redis.sock", "unix://user:***@/run/redis.sock"),
        ("redis://:secret", "redis://***"),
        ("localhost:6379", "localhost:6379"),
        ("secret", "***"),
        ("user:secret@host", "user:***@host"),
        ("embedded:///data", "embedded:///data"),
        ("redis+sentinel://u:secret@a:1,[::1]:2/main/0", "redis+sentinel://u:***@a:1,[::1]:2/main/0"),
        (
            "redis+sentinel://a,b/main?sentinel_password=secret",
            "redis+sentinel://a,b/main?sentinel_password=***",
        ),
        ("rediss+cluster://:secret@a:1,b:2", "rediss+cluster://:***@a:1,b:2"),
        ("redis+cluster://:se,cret", "redis+cluster://***"),
        ("redis+cluster://user:1,secret", "redis+cluster://***"),
    ],
)
def test_an_address_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert redact_url(url) == shown


@given(
    st.text(), st.text(), st.sampled_from(["", "user"]), st.sampled_from(["@", "@host:6379/0", "@/run/sock"])
)
def test_no_password_however_badly_escaped_is_ever_shown(head: str, tail: str, user: str, rest: str) -> None:
    shown = redact_url(f"redis://{user}:{head}SECRET{tail}{rest}")

    assert "SECRET" not in shown
    assert redact_url(shown) == shown


@pytest.mark.parametrize(
    "url",
    [
        "http://u:SECRET@host",
        "redis://:SECRET/1@host",
        "redis://:SECRET",
        "redis://u:SECRET\u2100@host:x",
        "SECRET",
        "redis+sentinel://u:SECRET@one/",
        "redis+sentinel://one?sentinel_password=SECRET",
        "redis+cluster://u:SECRET@one/1",
    ],
)
def test_neither_message_nor_traceback_shows_a_password(url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        WorkerSettings(redis_url=url)

    assert "SECRET" not in "".join(traceback.format_exception(caught.value))


def test_neither_repr_nor_str_shows_a_password() -> None:
    settings = ClientSettings(redis_url="redis://user:SECRET@host/0")

    assert "redis://user:***@host/0" in repr(settings)
    assert "SECRET" not in repr(settings) + str(settings) + f"{settings}" + repr([settings])


# --- unknown names --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("MICROBATCH_MAX_WAIT", "MICROBATCH_MAX_WAIT_MS"),
        ("MICROBATCH_REDISURL", "MICROBATCH_REDIS_URL"),
        ("MICROBATCH_QUEUE__EMBED__MAX_WAIT", "MICROBATCH_QUEUE__EMBED__MAX_WAIT_MS"),
        ("MICROBATCH_QUEUE_EMBED_MAX_WAIT_MS", "MICROBATCH_QUEUE__EMBED__MAX_WAIT_MS"),
        ("MICROBATCH_QUEUE__EMBED_MAX_WAIT_MS", "MICROBATCH_QUEUE__EMBED__MAX_WAIT_MS"),
    ],
)
def test_an_unknown_name_warns_with_what_was_probably_meant(
    name: str, meant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "SECRET")

    with pytest.warns(
        UnknownSettingWarning, match=f"^{name} .* no effect; did you mean {meant}\\?$"
    ) as caught:
        WorkerSettings()
    assert caught[0].filename == __file__


def test_an_unknown_name_warns_once_and_its_place_is_named() -> None:
    Path(".env").write_text("MICROBATCH_ZZZZZZ=1\nOTHER=2\n")

    with pytest.warns(
        UnknownSettingWarning, match=r"^MICROBATCH_ZZZZZZ \(\.env\) is no setting .* no effect$"
    ):
        WorkerSettings()
    with warnings.catch_warnings(action="error"):
        ClientSettings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MICROBATCH_PORT", "tcp://10.0.0.1:6379"),
        ("MICROBATCH_SERVICE_HOST", "10.0.0.1"),
        ("MICROBATCH_SERVICE_PORT_METRICS", "9090"),
        ("MICROBATCH_PORT_6379_TCP", "tcp://10.0.0.1:6379"),
        ("MICROBATCH_PORT_6379_TCP_ADDR", "10.0.0.1"),
        ("MICROBATCH_REDIS_PORT", "tcp://10.0.0.1:6379"),
        ("MICROBATCH_REDIS_SERVICE_HOST", "10.0.0.1"),
        ("MICROBATCH_SERVER_BINARY", "/usr/bin/valkey-server"),
    ],
)
def test_service_links_of_kubernetes_and_names_read_elsewhere_do_not_warn(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)

    assert WorkerSettings().origins == {}


def test_a_port_that_is_no_service_link_warns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MICROBATCH_REDIS_PORT", "6379")

    with pytest.warns(UnknownSettingWarning):
        WorkerSettings()


def test_reading_settings_prints_and_logs_nothing(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        WorkerSettings(), ClientSettings()

    assert (*capfd.readouterr(), caplog.text) == ("", "", "")


# --- the rows of `microbatch config` --------------------------------------------------------


def by_name(rows: list[SettingRow]) -> dict[str, SettingRow]:
    return {row.name: row for row in rows}


def test_each_row_says_what_holds_and_where_it_came_from(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("MICROBATCH_CONCURRENCY=3\n")
    monkeypatch.setenv("MICROBATCH_REDIS_URL", "redis://:SECRET@host/0")
    monkeypatch.setenv("MICROBATCH_QUEUE__EMBED__MAX_WAIT_MS", "9")
    rows = by_name(effective_settings(WorkerSettings.from_command_line({"drain_timeout_s": 8})))

    assert (rows["redis_url"].value, rows["redis_url"].origin) == (
        "redis://:***@host/0",
        "environment MICROBATCH_REDIS_URL",
    )
    assert (rows["concurrency"].value, rows["concurrency"].origin) == (3, ".env MICROBATCH_CONCURRENCY")
    assert (rows["drain_timeout_s"].value, rows["drain_timeout_s"].default) == (8, 25)
    assert rows["drain_timeout_s"].origin == "command line"
    assert rows["max_crashes"].origin == "default"
    own = rows["queue.EMBED.max_wait_ms"]
    assert (own.value, own.default, own.variable) == (9, 5, "MICROBATCH_QUEUE__EMBED__MAX_WAIT_MS")
    assert own.origin == "environment MICROBATCH_QUEUE__EMBED__MAX_WAIT_MS"
    assert "SECRET" not in repr(rows)


def test_rows_of_several_classes_are_merged_where_they_agree() -> None:
    rows = effective_settings(ClientSettings(), WorkerSettings())

    assert by_name(rows)["redis_url"].used_by == ("ClientSettings", "WorkerSettings")
    assert [(row.value, row.used_by) for row in rows if row.name == "result_ttl_s"] == [
        (None, ("ClientSettings",)),
        (3600, ("WorkerSettings",)),
    ]


def test_a_class_lists_only_the_overrides_that_it_reads() -> None:
    own = QueueOverrides(max_queue_length=7, max_batch_size=8)

    assert "queue.A.max_batch_size" not in by_name(effective_settings(ClientSettings(queue={"a": own})))
    assert "queue.A.max_queue_length" not in by_name(effective_settings(WorkerSettings(queue={"a": own})))
    assert (
        by_name(effective_settings(ClientSettings(queue={"a": own})))["queue.A.max_queue_length"].value == 7
    )
