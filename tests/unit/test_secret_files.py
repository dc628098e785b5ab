"""Settings in files: named like their variables, weaker than the environment, and never shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from microbatch.common.errors import SettingsError
from microbatch.common.settings import ClientSettings
from microbatch.common.settings.report import effective_settings
from microbatch.common.settings.secret_files import secret_files

if TYPE_CHECKING:
    from pathlib import Path

URL = "redis://worker:secret@host:6379/0"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MICROBATCH_REDIS_URL", raising=False)
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    place = tmp_path / "secrets"
    place.mkdir()
    (place / "MICROBATCH_REDIS_URL").write_text(f"{URL}\n")
    (place / "other").write_text("not ours")
    return place


@pytest.mark.parametrize("variable", ["MICROBATCH_SECRETS_DIR", "CREDENTIALS_DIRECTORY"])
def test_a_setting_may_be_in_a_file(folder: Path, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, str(folder))

    settings = ClientSettings()

    assert settings.redis_url == URL
    (row,) = (row for row in effective_settings(settings) if row.name == "redis_url")
    assert row.origin == "file MICROBATCH_REDIS_URL"
    assert "secret" not in str(row.value)


def test_the_environment_is_stronger_than_a_file_and_a_file_than_dotenv(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder.parent / ".env").write_text("MICROBATCH_REDIS_URL=redis://dotenv\nMICROBATCH_COMMAND_TIMEOUT_S=7")
    monkeypatch.setenv("MICROBATCH_SECRETS_DIR", str(folder))

    assert ClientSettings().redis_url == URL
    assert ClientSettings().command_timeout_s == 7
    monkeypatch.setenv("MICROBATCH_REDIS_URL", "redis://environment")
    assert ClientSettings().redis_url == "redis://environment"


def test_the_directory_of_ours_goes_before_that_of_systemd(folder: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    both = {"MICROBATCH_SECRETS_DIR": str(empty), "CREDENTIALS_DIRECTORY": str(folder)}

    assert secret_files(both, "MICROBATCH_") == {}


def test_a_directory_that_was_named_and_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="No such file or directory"):
        secret_files({"MICROBATCH_SECRETS_DIR": str(tmp_path / "nowhere")}, "MICROBATCH_")
    assert secret_files({"CREDENTIALS_DIRECTORY": str(tmp_path / "nowhere")}, "MICROBATCH_") == {}
    assert secret_files({}, "MICROBATCH_") == {}


@pytest.mark.parametrize(("data", "words"), [(b"\xff\xfe", "not UTF-8"), (b"x" * 65_537, "holds no setting")])
def test_what_cannot_be_a_setting_is_told_without_its_content(folder: Path, data: bytes, words: str) -> None:
    (folder / "MICROBATCH_REDIS_URL").write_bytes(data)

    with pytest.raises(SettingsError, match=words) as caught:
        secret_files({"MICROBATCH_SECRETS_DIR": str(folder)}, "MICROBATCH_")
    assert "xx" not in str(caught.value)
