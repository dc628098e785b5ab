"""`microbatch health`: ask a worker of this machine how it is, for probes that run a command.

Rule: it asks the worker's own pages, so it says what they say; it needs neither Redis nor the processors.
"""
# ruff: noqa: PLC0415 - what is heavy is imported by `run`, so that help comes at once

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from microbatch.console.exits import ExitCode, UsageError
from microbatch.console.options import connection_options, seconds
from microbatch.console.terminal import complain, print_json

if TYPE_CHECKING:
    import argparse

    from microbatch.common.bind_address import BindAddress

__all__ = ["add_arguments", "run"]

_PATHS = {"live": "/livez", "ready": "/readyz", "started": "/startupz"}
_EPILOG = """\
examples:
  $ microbatch health --monitoring-address 9464
  $ MICROBATCH_MONITORING_ADDRESS=9464 microbatch health --live

exit codes: 0 yes; 1 no, or nobody answers; 2 wrong usage, or no address
"""
LIMIT_S = 5.0
_VARIABLE = "MICROBATCH_MONITORING_ADDRESS"
_OK = 200


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    parser.epilog = _EPILOG
    kinds = parser.add_mutually_exclusive_group()
    for kind, what in (
        ("live", "does it make progress? Only a restart helps where it does not"),
        ("ready", "does it take work? (the default)"),
        ("started", "are its processors set up?"),
    ):
        kinds.add_argument(f"--{kind}", dest="kind", action="store_const", const=kind, help=what)
    parser.set_defaults(kind="ready")
    parser.add_argument(
        "--monitoring-address", metavar="[HOST:]PORT", help="where the worker serves its health"
    )
    parser.add_argument(
        "--timeout-s", metavar="S", type=seconds, default=LIMIT_S, help="how long to wait (default: 5)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Ask."""
    address = _address(arguments).within_reach
    why_not = _asked(str(address), arguments.kind, arguments.timeout_s)
    if arguments.json:
        print_json({arguments.kind: not why_not, "why_not": why_not})
    elif not why_not:
        print(arguments.kind)
    for reason in [] if arguments.json else why_not:
        complain("microbatch health", f"not {arguments.kind}: {reason}")
    return ExitCode.FAILED if why_not else ExitCode.DONE


def _address(arguments: argparse.Namespace) -> BindAddress:
    """Where the worker listens. A probe comes every few seconds: it reads all settings only where it must."""
    from microbatch.common.bind_address import read_bind_address

    text = arguments.monitoring_address or os.environ.get(_VARIABLE)
    if text:
        with contextlib.suppress(ValueError):  # the settings say what is wrong with it
            return read_bind_address(text)
    from microbatch.common.settings import WorkerSettings

    settings = WorkerSettings.from_command_line(
        connection_options(arguments) | {"monitoring_address": arguments.monitoring_address}
    )
    if settings.monitoring_address is None:
        raise UsageError(f"say where: --monitoring-address or {_VARIABLE}, as for the worker")
    return read_bind_address(settings.monitoring_address)


def _asked(address: str, kind: str, timeout_s: float) -> list[str]:
    """Why it is not; empty where it is."""
    from http import HTTPMethod
    from http.client import HTTPConnection, HTTPException

    connection = HTTPConnection(address, timeout=max(0.01, timeout_s))
    try:
        connection.request(HTTPMethod.GET, _PATHS[kind])
        response = connection.getresponse()
        text = response.read(65_536).decode("utf-8", "replace")
    except (OSError, HTTPException) as error:
        return [f"nobody answers at {address}: {error}"]
    finally:
        connection.close()
    return [] if response.status == _OK else text.splitlines() or [f"status {response.status}"]
