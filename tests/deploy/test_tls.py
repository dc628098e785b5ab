"""`deploy/redis/tls.conf`: TLS and mutual TLS with right certificates, and with wrong ones of each kind."""

from __future__ import annotations

import datetime as dt
import gc
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import trustme
from tests.deploy.kit import DEPLOY, booted
from tests.integration.command import free_port

from microbatch.common.errors import ConnectionFailed
from microbatch.console.main import main
from microbatch.producer import AsyncClient, Client, ClientSettings
from microbatch.worker import Worker, WorkerSettings, batch_processor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOST = "localhost"
LONG_AGO = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
LIMIT_S = 10.0
TRIES = 3
HUNG_UP = ("reset by peer", "broken pipe", "eof occurred", "closed")
"""In TLS 1.3 a client has sent its first command before the server looks at its certificate. A server that
closes with unread bytes may reset the connection, and the alert that says why is lost on the way."""


@batch_processor(queue="shout", max_wait_ms=0)
def shout(texts: list[str]) -> list[str]:
    return [text.upper() for text in texts]


class Authority:
    """An authority, with the certificates that it has signed as files."""

    def __init__(self, folder: Path) -> None:
        self._authority = trustme.CA()
        self._folder = folder
        self.file = folder / "ca.crt"
        self._authority.cert_pem.write_to_path(str(self.file))

    def sign(self, name: str, host: str = HOST, *, until: dt.datetime | None = None) -> tuple[Path, Path]:
        """The files of a new certificate and its key."""
        made = self._authority.issue_cert(host, not_after=until)
        chain, key = self._folder / f"{name}.crt", self._folder / f"{name}.key"
        for number, part in enumerate(made.cert_chain_pems):
            part.write_to_path(str(chain), append=number > 0)
        made.private_key_pem.write_to_path(str(key))
        return chain, key


@dataclass(frozen=True)
class Site:
    """A server that speaks TLS, and who signed its certificate."""

    port: int
    authority: Authority

    def url(self, **options: object) -> str:
        """How a client connects; every `ssl_` option as it is given."""
        given = {"ssl_ca_certs": self.authority.file} | options
        query = "&".join(f"{name}={value}" for name, value in given.items() if value is not None)
        return f"rediss://{HOST}:{self.port}/0?{query}"


@contextmanager
def site(folder: Path, *, host: str = HOST, until: dt.datetime | None = None, mutual: bool) -> Iterator[Site]:
    """Boot a server with tls.conf; it is redis-server, because the embedded server's Valkey has no TLS."""
    authority = Authority(folder)
    authority.sign("server", host, until=until)
    port = free_port()
    text = (DEPLOY / "redis" / "tls.conf").read_text()
    assert "tls-port 6379" in text
    text = text.replace("/etc/redis/tls", str(folder)).replace("tls-port 6379", f"tls-port {port}")
    text = text.replace("tls-auth-clients yes", f"tls-auth-clients {'yes' if mutual else 'no'}")
    (folder / "tls.conf").write_text(text)
    with booted("redis-server", "--bind", "127.0.0.1", "--include", str(folder / "tls.conf")):
        yield Site(port, authority)


@pytest.fixture(autouse=True)
def nothing_is_left_to_other_tests() -> Iterator[None]:
    """Let go of what uvloop leaves behind where a handshake is given up in its middle."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(tmp_path_factory.mktemp("tls"), mutual=False) as found:
        yield found


@pytest.fixture(scope="module")
def mutual(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(tmp_path_factory.mktemp("mutual"), mutual=True) as found:
        yield found


def words_of_failure(url: str) -> str:
    """What the SDK says where it cannot connect, and has the time for a handshake to find out why."""
    words = "TimeoutError"
    for timeout_s in (0.5, 2.0, 10.0):
        if "TimeoutError" in words:
            settings = ClientSettings(redis_url=url, connect_timeout_s=timeout_s, command_timeout_s=timeout_s)
            with pytest.raises(ConnectionFailed) as caught, Client(settings=settings):
                pytest.fail("it connected")
            words = str(caught.value)
    return words


def check_refused(url: str, reason: str) -> None:
    """See the server refuse, for this reason where one of a few alerts comes through."""
    for _ in range(TRIES):
        words = words_of_failure(url).lower()
        if reason in words:
            return
        assert any(end in words for end in HUNG_UP), words


async def works(url: str) -> bool:
    """Whether a worker and a client get a job done."""
    async with Worker([shout], settings=WorkerSettings(redis_url=url)), AsyncClient(url) as client:
        answer: str = await client.call("shout", "hello", timeout_s=LIMIT_S)
        return answer == "HELLO"


async def test_a_client_that_knows_the_authority_works_over_tls(tls: Site) -> None:
    assert await works(tls.url())


async def test_a_client_with_a_certificate_works_over_mutual_tls(mutual: Site) -> None:
    certificate, key = mutual.authority.sign("client")

    assert await works(mutual.url(ssl_certfile=certificate, ssl_keyfile=key))


def test_a_client_that_does_not_know_the_authority_says_that_the_certificate_is_not_trusted(
    tls: Site,
) -> None:
    words = words_of_failure(tls.url(ssl_ca_certs=None))

    assert "certificate verify failed: self-signed certificate in certificate chain" in words


def test_a_client_that_trusts_another_authority_says_so(tls: Site, tmp_path: Path) -> None:
    words = words_of_failure(tls.url(ssl_ca_certs=Authority(tmp_path).file))

    assert "certificate verify failed" in words


def test_a_certificate_of_another_host_is_refused_by_name(tmp_path: Path) -> None:
    with site(tmp_path, host="redis.example.com", mutual=False) as found:
        words = words_of_failure(found.url())

    assert "Hostname mismatch, certificate is not valid for 'localhost'" in words


def test_an_expired_certificate_is_refused_as_expired(tmp_path: Path) -> None:
    with site(tmp_path, until=LONG_AGO, mutual=False) as found:
        words = words_of_failure(found.url())

    assert "certificate verify failed: certificate has expired" in words


def test_without_a_certificate_of_its_own_a_client_is_refused_by_mutual_tls(mutual: Site) -> None:
    check_refused(mutual.url(), "certificate required")


def test_a_certificate_of_a_foreign_authority_is_refused_by_mutual_tls(mutual: Site, tmp_path: Path) -> None:
    certificate, key = Authority(tmp_path).sign("stranger")

    check_refused(mutual.url(ssl_certfile=certificate, ssl_keyfile=key), "unknown ca")


def test_an_expired_certificate_of_a_client_is_refused_by_mutual_tls(mutual: Site) -> None:
    certificate, key = mutual.authority.sign("old", until=LONG_AGO)

    check_refused(mutual.url(ssl_certfile=certificate, ssl_keyfile=key), "certificate expired")


def test_a_client_without_tls_is_refused(tls: Site) -> None:
    words_of_failure(tls.url().replace("rediss://", "redis://").partition("?")[0])


def test_the_command_says_it_in_one_line_that_names_the_server(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with site(tmp_path, until=LONG_AGO, mutual=False) as found:
        for patience_s in ("1", "5", "20"):
            code = main(["status", "--redis-url", found.url(), "--connect-timeout-s", patience_s])
            (line,) = capsys.readouterr().err.splitlines()
            if "TimeoutError" not in line:  # it had the time for a handshake
                break

    assert code == 69
    assert f"rediss://{HOST}:{found.port}" in line
    assert "certificate has expired" in line
