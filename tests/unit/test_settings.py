"""What settings accept, where they read it, which value wins, and what they say about a wrong one."""

import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch.common.errors import SettingsError
from microbatch.common.settings import (
    ClientSettings,
    QueueOverrides,
    WorkerSettings,
    queue_key,
    queue_settings,
)

ADDRESS = "redis://localhost:6379/0"


@pytest.fixture(autouse=True, scope="module")
def _nothing_set(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    # Module scope, because hypothesis refuses fixtures that are not reset between its examples.
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("no_dotenv"))
        for name in [name for name in os.environ if name.upper().startswith("MICROBATCH_")]:
            patch.delenv(name)
        yield


@pytest.fixture
def dotenv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / ".env"


# --- where values come from -----------------------------------------------------------------


def test_without_any_source_the_defaults_hold() -> None:
    worker, client = WorkerSettings(), ClientSettings()

    assert (worker.redis_url, worker.concurrency, worker.max_batch_size) == (ADDRESS, 1, 32)
    assert (worker.max_wait_ms, worker.result_ttl_s, worker.drain_timeout_s) == (5, 3600, 25)
    assert (client.max_queue_length, client.max_payload_bytes) == (1_000_000, 1024 * 1024)
    assert client.result_ttl_s is None
    assert worker.origins == {}


def test_the_environment_is_read_whatever_the_case_and_capitals_have_the_last_word(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("microbatch_max_wait_ms", "7")
    assert WorkerSettings().max_wait_ms == 7
    assert WorkerSettings().origins == {"max_wait_ms": "environment microbatch_max_wait_ms"}

    monkeypatch.setenv("MICROBATCH_MAX_WAIT_MS", "8")
    assert WorkerSettings().max_wait_ms == 8


def test_code_wins_over_the_environment_and_the_environment_over_dotenv(
    monkeypatch: pytest.MonkeyPatch, dotenv: Path
) -> None:
    dotenv.write_text(
        "\ufeffMICROBATCH_CONCURRENCY=2\nMICROBATCH_MAX_BATCH_SIZE=2\nMICROBATCH_MAX_WAIT_MS=2\nOTHER=1\n"
    )
    monkeypatch.setenv("MICROBATCH_MAX_BATCH_SIZE", "3")
    monkeypatch.setenv("MICROBATCH_MAX_WAIT_MS", "3")
    settings = WorkerSettings(max_wait_ms=4)

    assert (settings.concurrency, settings.max_batch_size, settings.max_wait_ms) == (2, 3, 4)
    assert settings.origins == {
        "concurrency": ".env MICROBATCH_CONCURRENCY",
        "max_batch_size": "environment MICROBATCH_MAX_BATCH_SIZE",
        "max_wait_ms": "code (settings)",
    }


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch, dotenv: Path) -> None:
    dotenv.write_text("MICROBATCH_MAX_WAIT_MS=9\nMICROBATCH_CONCURRENCY=\nMICROBATCH_NONSENSE=\n")
    monkeypatch.setenv("MICROBATCH_MAX_WAIT_MS", "")

    assert (WorkerSettings().max_wait_ms, WorkerSettings().concurrency) == (9, 1)


def test_a_dotenv_file_that_cannot_be_read_is_a_settings_error(dotenv: Path) -> None:
    dotenv.write_bytes(b"MICROBATCH_REDIS_URL=\xff\xfe")

    with pytest.raises(SettingsError, match=r"the \.env file cannot be read"):
        WorkerSettings()


def test_another_class_s_variable_is_known_and_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MICROBATCH_POLL_INTERVAL_S", "rubbish")

    assert WorkerSettings().origins == {}


def test_settings_are_frozen_and_survive_pickling() -> None:
    settings = WorkerSettings(max_wait_ms=3, queue={"a": QueueOverrides(concurrency=2)})

    with pytest.raises(ValueError, match="frozen"):
        settings.max_wait_ms = 4
    assert pickle.loads(pickle.dumps(settings)) == settings  # noqa: S301  # our own bytes


# --- one queue ------------------------------------------------------------------------------


@pytest.mark.parametrize("queue", ["text-embed", "text.embed", "text:embed", "Text_Embed"])
def test_a_queue_s_variable_matches_whatever_its_case_and_separators(
    queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MICROBATCH_QUEUE__TEXT_EMBED__MAX_WAIT_MS", "11")

    assert WorkerSettings().overrides_for(queue) == QueueOverrides(max_wait_ms=11)
    assert WorkerSettings().overrides_for("other") == QueueOverrides()


@given(st.from_regex(r"[A-Za-z0-9_.:-]{1,128}", fullmatch=True), st.sampled_from(["", "-", "_"]))
def test_every_queue_name_can_be_addressed_by_its_variable(queue: str, tail: str) -> None:
    queue = queue[:120] + tail * 2
    variable = f"MICROBATCH_QUEUE__{queue_key(queue)}__MAX_QUEUE_LENGTH"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(variable, "12")

        assert ClientSettings().max_queue_length_for(queue) == 12
        assert ClientSettings().origins == {
            f"queue.{queue_key(queue)}.max_queue_length": f"environment {variable}"
        }


def test_overrides_from_code_and_environment_are_merged_field_by_field(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MICROBATCH_QUEUE__A_B__MAX_WAIT_MS", "1")
    monkeypatch.setenv("MICROBATCH_QUEUE__A_B__CONCURRENCY", "1")
    settings = WorkerSettings(queue={"a-b": QueueOverrides(max_wait_ms=2)})

    assert settings.overrides_for("a.b") == QueueOverrides(max_wait_ms=2, concurrency=1)
    assert settings.origins["queue.A_B.max_wait_ms"] == "code (settings)"


def test_a_producer_takes_its_limits_from_the_queue_s_overrides_first() -> None:
    own = QueueOverrides(max_queue_length=10, result_ttl_s=0)
    settings = ClientSettings(max_queue_length=20, result_ttl_s=30, queue={"a": own})

    assert (settings.max_queue_length_for("a"), settings.result_ttl_s_for("a")) == (10, 0)
    assert (settings.max_queue_length_for("b"), settings.result_ttl_s_for("b")) == (20, 30)


# --- precedence -----------------------------------------------------------------------------

WAITS = st.none() | st.integers(0, 3_600_000).map(float)
ORIGINS = (
    "command line",
    "code (settings)",
    "environment MICROBATCH_QUEUE__Q_1__MAX_WAIT_MS",
    "code",
    "code (settings)",
    "environment MICROBATCH_MAX_WAIT_MS",
    "default",
)


@given(st.tuples(WAITS, WAITS, WAITS, WAITS, WAITS, WAITS))
def test_the_strongest_level_that_has_a_value_wins_and_is_named(levels: tuple[float | None, ...]) -> None:
    cli, own_in_settings, own_in_environment, declared, in_settings, in_environment = levels
    in_code: dict[str, Any] = {} if in_settings is None else {"max_wait_ms": in_settings}
    with pytest.MonkeyPatch.context() as patch:
        if own_in_environment is not None:
            patch.setenv("MICROBATCH_QUEUE__Q_1__MAX_WAIT_MS", str(own_in_environment))
        if in_environment is not None:
            patch.setenv("MICROBATCH_MAX_WAIT_MS", str(in_environment))
        settings = WorkerSettings(queue={"q-1": QueueOverrides(max_wait_ms=own_in_settings)}, **in_code)

    resolved = queue_settings(
        "q-1", settings=settings, declared={"max_wait_ms": declared}, cli={"max_wait_ms": cli}
    )

    candidates = zip((*levels, 5.0), ORIGINS, strict=True)
    expected = next((value, origin) for value, origin in candidates if value is not None)
    assert (resolved.max_wait_ms, resolved.origins["max_wait_ms"]) == expected


def test_settings_from_the_command_line_win_for_every_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MICROBATCH_QUEUE__A__MAX_WAIT_MS", "1")
    monkeypatch.setenv("MICROBATCH_QUEUE__A__CONCURRENCY", "2")
    settings = WorkerSettings.from_command_line({"max_wait_ms": 3, "concurrency": None})
    resolved = queue_settings("a", settings=settings, declared={"max_wait_ms": 4, "concurrency": 5})

    assert (resolved.max_wait_ms, resolved.origins["max_wait_ms"]) == (3, "command line")
    assert resolved.concurrency == 2


def test_a_zero_is_a_value_and_not_an_absence() -> None:
    resolved = queue_settings(
        "a", settings=WorkerSettings(), declared={"max_wait_ms": 0, "result_ttl_s": 0, "concurrency": None}
    )

    assert (resolved.max_wait_ms, resolved.result_ttl_s, resolved.concurrency) == (0, 0, 1)


def test_a_setting_that_is_unset_everywhere_stays_unset_and_any_level_sets_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    unset = queue_settings("a", settings=WorkerSettings())
    assert (unset.max_attempts, unset.batch_timeout_s, unset.max_batches_per_child) == (None, None, None)
    assert unset.origins["max_attempts"] == "default"

    monkeypatch.setenv("MICROBATCH_QUEUE__A__EXECUTOR", "process")
    monkeypatch.setenv("MICROBATCH_MAX_ATTEMPTS", "4")
    resolved = queue_settings("a", settings=WorkerSettings(), declared={"batch_timeout_s": 2})
    assert (resolved.executor, resolved.max_attempts, resolved.batch_timeout_s) == ("process", 4, 2)


def test_options_that_are_no_queue_settings_are_passed_over_but_declared_ones_are_refused() -> None:
    assert queue_settings("a", settings=WorkerSettings(), cli={"burst": True}).concurrency == 1

    with pytest.raises(SettingsError, match="max_wait is no setting; did you mean max_wait_ms"):
        queue_settings("a", settings=WorkerSettings(), declared={"max_wait": 3})
