"""The embedded server: its ports, arguments and URLs, and what it refuses."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

import pytest
from tests.embedded.users import call, runs

from microbatch.common.embedded import EmbeddedServer, resolve_url
from microbatch.common.errors import EmbeddedServerError


def test_a_port_is_bound_to_this_machine_only(program: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with EmbeddedServer(program=program, port=port) as server:
        assert server.tcp_url == f"redis://127.0.0.1:{port}/0"
        assert call(server.tcp_url, "PING") is True
        assert call(server.url, "CONFIG", "GET", "bind")[1] == "127.0.0.1"


def test_a_taken_port_is_an_error_with_the_servers_own_words(program: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(EmbeddedServerError, match=r"(?i)listen") as caught:
            EmbeddedServer(program=program, port=taken.getsockname()[1]).start()

    assert "\n" not in str(caught.value)


def test_a_running_server_without_the_port_is_an_error(data_dir: Path) -> None:
    with EmbeddedServer(data_dir), pytest.raises(EmbeddedServerError, match="already runs without port 7001"):
        EmbeddedServer(data_dir, port=7001).start()


def test_more_arguments_win_and_a_wrong_one_is_an_error_that_names_it(program: Path) -> None:
    with EmbeddedServer(program=program, extra_args=["--hz", "50"]) as server:
        assert call(server.url, "CONFIG", "GET", "hz")[1] == "50"
    with pytest.raises(EmbeddedServerError, match="no-such-option"):
        EmbeddedServer(program=program, extra_args=["--no-such-option", "1"]).start()


def test_a_server_with_a_password_counts_as_ready(program: Path) -> None:
    with EmbeddedServer(program=program, extra_args=["--requirepass", "secret"]) as server:
        assert call(server.url.replace("unix://", "unix://:secret@"), "PING") is True


def test_a_program_that_is_no_server_is_an_error(data_dir: Path) -> None:
    false = shutil.which("false")
    assert false is not None
    with pytest.raises(EmbeddedServerError, match="it ended with 1 and said: nothing"):
        EmbeddedServer(program=Path(false)).start()
    with pytest.raises(EmbeddedServerError, match="not an executable file"):
        EmbeddedServer(data_dir, program=Path("/no/such/program")).start()


@pytest.mark.parametrize("directory", ["/dev/null", "/dev/null/below", "/proc/none", "/tmp/a\0b"])  # noqa: S108 - never made
def test_a_directory_that_cannot_be_used_is_an_error(directory: str) -> None:
    with pytest.raises(EmbeddedServerError, match="that this user may write"):
        EmbeddedServer(Path(directory)).start()


def test_clients_of_one_process_share_its_private_server() -> None:
    first_url, first = resolve_url("embedded://")
    second_url, second = resolve_url("embedded://")
    assert first is not None
    assert second is not None
    pid = first.pid

    assert (second_url, second.pid) == (first_url, pid)

    first.stop()
    first.stop()

    assert call(second_url, "PING") is True

    second.stop()

    assert not runs(pid)

    third_url, third = resolve_url("embedded://")
    assert third is not None
    with third:
        assert call(third_url, "PING") is True


def test_an_embedded_url_with_a_path_attaches_to_that_directory(tmp_path: Path) -> None:
    url, server = resolve_url(f"embedded://{tmp_path}/a%20b")
    assert server is not None
    with server:
        assert server.data_dir == tmp_path / "a b"
        assert call(url, "PING") is True
