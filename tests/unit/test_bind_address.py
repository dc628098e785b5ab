from __future__ import annotations

import pytest

from microbatch.common.bind_address import read_bind_address
from microbatch.common.errors import SettingsError
from microbatch.common.settings import WorkerSettings


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("9464", "127.0.0.1", 9464),
        ("[::]:0", "::", 0),
        ("localhost:80", "localhost", 80),
        ("[::1]:9464", "::1", 9464),
    ],
)
def test_an_address_is_a_port_or_a_host_and_a_port(text: str, host: str, port: int) -> None:
    assert read_bind_address(text) == (host, port)


@pytest.mark.parametrize(
    "text", ["", "host", ":9464", "::1:9464", "9464:", "1.2.3.4:65536", "tcp://10.0.0.1:80", "a:-1", "٣"]
)
def test_what_is_no_address_is_refused_as_a_setting(text: str) -> None:
    with pytest.raises(SettingsError, match=r"monitoring_address.*a port, or host:port"):
        WorkerSettings(monitoring_address=text)


@pytest.mark.parametrize(
    ("wildcard", "reached"), [("0.0.0.0:1", "127.0.0.1:1"), ("[::]:1", "[::1]:1"), ("h:1", "h:1")]
)
def test_a_wildcard_is_reached_through_the_loopback(wildcard: str, reached: str) -> None:
    assert str(read_bind_address(wildcard).within_reach) == reached
