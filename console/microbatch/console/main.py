"""The `microbatch` command: find the subcommand, run it, turn what it raises into an exit code and a line.

Rule: a subcommand is a module with `add_arguments(parser)` and `run(arguments) -> int`, imported only when
it is the one that was asked for, so that help comes at once. Errors leave as exceptions and are told here, in
one place. Nothing here knows Redis.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import sys
import traceback
import warnings
from difflib import get_close_matches
from importlib import import_module
from typing import TYPE_CHECKING, Any, NoReturn

from microbatch.console.exits import ExitCode, UsageError, refusal_of
from microbatch.console.options import add_common_options
from microbatch.console.terminal import complain, encodable, show_traceback

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["main"]

PROG = "microbatch"

COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("microbatch.console.demo.command", "see the whole system at work, on an embedded server"),
    "worker": ("microbatch.console.worker_command", "process the jobs of one or more queues, in batches"),
    "workers": ("microbatch.console.workers_command", "list the workers, and tell them what to do"),
    "submit": ("microbatch.console.submit_command", "put one job, or a file of them, into a queue"),
    "result": ("microbatch.console.result_command", "show the result of a job, or wait for it"),
    "status": ("microbatch.console.status_command", "show the queues: what waits, what runs, who works"),
    "log": ("microbatch.console.log_command", "show what a job's processor wrote into its log"),
    "events": ("microbatch.console.events_command", "show what happens to jobs, as it happens"),
    "queue": ("microbatch.console.queue_command", "pause, drain, resume, purge or limit a queue"),
    "job": ("microbatch.console.job_command", "list, show, cancel and retry the jobs of a queue"),
    "batches": ("microbatch.console.batches_command", "show how a queue was batched lately, and why"),
    "top": ("microbatch.console.top_command", "watch queues, workers and errors as they change"),
    "dead": (
        "microbatch.console.dead_command",
        "look at jobs that failed for good, run or delete them",
    ),
    "cron": ("microbatch.console.cron_command", "declare, list, pause and run recurring jobs"),
    "doctor": ("microbatch.console.doctor.command", "check a deployment, and say how to mend what is wrong"),
    "acl": (
        "microbatch.console.acl_command",
        "print users with least privilege, for the ACL file of a server",
    ),
    "exporter": ("microbatch.console.exporter_command", "serve what the queues hold to Prometheus"),
    "health": ("microbatch.console.health_command", "ask a worker of this machine whether it is well"),
    "server": ("microbatch.console.server_command", "start a Redis-compatible server for development"),
    "config": ("microbatch.console.config_command", "show the settings in force and where each came from"),
}
"""Each command: its module, and what it does."""

_SILENCE = logging.NullHandler()
"""Without any handler, warnings in the log would come as bare lines on stderr."""

_HELP = """\
usage: microbatch COMMAND [ARGUMENTS]

Many programs submit single jobs; workers process them in batches; each job
gets its own result.

commands:
{commands}

options:
  -h, --help  show this text; `microbatch COMMAND --help` shows a command's
  --version   show the version

first steps:
  microbatch demo                          see it work; needs nothing else
  microbatch worker tasks:embed            run the processor `embed` of tasks.py
  microbatch submit embed '"text"' --wait  submit a job, print its result

exit codes:
  0   done
  1   the job failed or was refused        69  Redis cannot be reached
  2   wrong usage, settings, import or     70  a bug in microbatch
      password                             75  the worker left before its
  3   no such job, queue or result             batches were done, and handed
  4   timed out                                them back
"""


class _OneLineParser(argparse.ArgumentParser):
    """Tells what is wrong in one line: the usage is in the help."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see {self.prog} --help")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: The words after `microbatch`; None: this process's.

    Returns:
        The exit code.
    """
    words = sys.argv[1:] if argv is None else list(argv)
    encodable()
    logging.getLogger(PROG).addHandler(_SILENCE)
    prog = f"{PROG} {words[0]}" if words and words[0] in COMMANDS else PROG
    with _one_line_warnings(prog):
        try:
            code = _run(prog, words)
            sys.stdout.flush()
        except BrokenPipeError:
            code = ExitCode.BROKEN_PIPE
        except KeyboardInterrupt:
            code = ExitCode.INTERRUPTED
        except Exception as error:  # noqa: BLE001 - the end of the line: every error becomes an exit code
            if "--traceback" in words:
                show_traceback([*traceback.format_exception(error), getattr(error, "error_traceback", "")])
            code, sentence = refusal_of(error)
            complain(prog, sentence)
    _flush_or_forget()
    return code


def _run(prog: str, words: Sequence[str]) -> int:
    if not words:
        print(_help())
        raise UsageError("say which command")
    if words[0] in {"-h", "--help"}:
        print(_help())
        return ExitCode.DONE
    if words[0] == "--version":
        from importlib.metadata import version  # noqa: PLC0415 - takes longer than the rest of the help

        print(f"{PROG} {version(PROG)}")
        return ExitCode.DONE
    if words[0].startswith("-"):
        raise UsageError(f"{words[0]} has to come after the command; see {PROG} --help")
    if words[0] not in COMMANDS:
        close = get_close_matches(words[0], COMMANDS, n=1)
        hint = f"; did you mean {close[0]}?" if close else ";"
        raise UsageError(f"no command {words[0]!r}{hint} see {PROG} --help")
    place, summary = COMMANDS[words[0]]
    command = import_module(place)
    parser = _OneLineParser(
        prog=prog,
        description=f"{summary[0].upper()}{summary[1:]}.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
        allow_abbrev=False,
    )
    command.add_arguments(parser)
    add_common_options(parser)
    try:
        arguments = parser.parse_args(list(words[1:]))
    except SystemExit:  # argparse has shown the help
        return ExitCode.DONE
    code: int = command.run(arguments)
    return code


def _help() -> str:
    width = max(map(len, COMMANDS))
    commands = "\n".join(f"  {name:{width}}  {summary}" for name, (_, summary) in COMMANDS.items())
    return _HELP.format(commands=commands)


@contextlib.contextmanager
def _one_line_warnings(prog: str) -> Iterator[None]:
    """Tell a misspelt setting in one line; other people's warnings stay as they are."""
    with warnings.catch_warnings():
        show: Any = warnings.showwarning

        def tell(message: Warning | str, category: type[Warning], *place: Any, **where: Any) -> None:
            if category.__name__ == "UnknownSettingWarning":
                complain(prog, f"warning: {message}")
            else:
                show(message, category, *place, **where)

        warnings.showwarning = tell
        yield


def _flush_or_forget() -> None:
    """Where nobody can take our output any more, let the interpreter's last flush go nowhere."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
