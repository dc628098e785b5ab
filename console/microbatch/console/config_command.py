"""`microbatch config`: the settings in force, and where each came from.

Rule: it connects to nothing and shows no secret.
"""
# ruff: noqa: PLC0415 - what is heavy is imported by `run`, so that help comes at once

from __future__ import annotations

from typing import TYPE_CHECKING

from microbatch.console.exits import ExitCode
from microbatch.console.options import connection_options
from microbatch.console.terminal import print_json, table

if TYPE_CHECKING:
    import argparse

__all__ = ["add_arguments", "run"]

_EPILOG = """\
A value comes from, the strongest first:
  an option of the command line           --redis-url redis://...
  the environment variable for one queue  MICROBATCH_QUEUE__EMBED__MAX_WAIT_MS
  an argument in code                     @batch_processor(max_wait_ms=3)
  the environment variable for all        MICROBATCH_MAX_WAIT_MS
  the default

The file .env in the current directory is read like the environment, which wins
over it. What a processor declares in code is known only to the worker that runs
it, and not shown here.

examples:
  $ microbatch config
  $ MICROBATCH_MAX_WAIT_MS=20 microbatch config --json

exit codes: 0 done; 2 a setting has a value that cannot be used
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    parser.epilog = _EPILOG


def run(arguments: argparse.Namespace) -> int:
    """Show the settings."""
    from dataclasses import asdict

    from microbatch.common.settings import ClientSettings, WorkerSettings
    from microbatch.common.settings.report import effective_settings

    options = connection_options(arguments)
    rows = effective_settings(
        ClientSettings.from_command_line(options), WorkerSettings.from_command_line(options)
    )
    if arguments.json:
        print_json([asdict(row) for row in rows])
        return ExitCode.DONE
    shown = [
        (
            row.name,
            "unset" if row.value is None else str(row.value),
            row.origin,
            ", ".join(map(_side, row.used_by)),
        )
        for row in rows
    ]
    print(table(("SETTING", "VALUE", "FROM", "USED BY"), shown))
    return ExitCode.DONE


def _side(settings_class: str) -> str:
    return settings_class.removesuffix("Settings").lower()
