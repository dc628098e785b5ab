"""`microbatch worker`: run processors until told to leave.

Rule: the exit code says how it left. When it hands work back (75) it leaves at once, because a thread of
the processor may hang for ever. Everything it says goes to the log, on stderr.
"""
# ruff: noqa: PLC0415 - what is heavy is imported by `run`, so that help comes at once

from __future__ import annotations

import gc
import os
import sys
from typing import TYPE_CHECKING

from microbatch.console.exits import ExitCode, UsageError
from microbatch.console.options import connection_options
from microbatch.console.terminal import complain

if TYPE_CHECKING:
    import argparse

__all__ = ["add_arguments", "run"]

_EPILOG = """\
example:
  # tasks.py
  from microbatch.worker import batch_processor

  @batch_processor(queue="shout", max_batch_size=64, max_wait_ms=5)
  def shout(texts: list[str]) -> list[str]:
      return [text.upper() for text in texts]

  $ microbatch worker tasks:shout

signals:
  TERM, INT   drain: finish what was begun, claim nothing new, leave; a second
              one hands back what was begun and leaves at once
  TSTP, CONT  stop claiming; claim again
  USR1        write stacks and open batches to the log

exit codes: 0 drained, also after max_batches or above max_rss_bytes; 1 a
processor's setup failed, or the monitoring address is taken; 2 wrong usage,
settings, import or password; 69 Redis cannot be reached; 75 left before its
batches were done (a deadline, a second signal, a batch that hangs), and handed
them back
"""
LEVELS = ("debug", "info", "warning", "error")
_SETTINGS = (
    *("max_batch_size", "max_wait_ms", "batching", "target_p95_ms", "max_batch_cost", "max_batch_bytes"),
    *("concurrency", "drain_timeout_s", "monitoring_address", "log_format", "labels"),
)
"""Options that set a setting of the same name."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    parser.description = (
        "Claim jobs in batches, run the processors on them, write one result per job.\n"
        "Start as many workers as you like, on as many hosts as you like: they share the\n"
        "work."
    )
    parser.epilog = _EPILOG
    parser.add_argument(
        "processors",
        metavar="MODULE:ATTR",
        nargs="+",
        help="a decorated function, a BatchProcessor class or an instance of one, or a Schedule; modules are "
        "looked for in the current directory too",
    )
    parser.add_argument(
        "--max-batch-size",
        metavar="N",
        help="most jobs per call; wins over the processor's own (default: 32)",
    )
    parser.add_argument(
        "--max-wait-ms", metavar="MS", help="how long a job may wait for others; likewise (default: 5)"
    )
    parser.add_argument(
        "--batching",
        choices=("fixed", "adaptive"),
        help="by these two, or with them as limits and the waits that pay (default: fixed)",
    )
    parser.add_argument(
        "--target-p95-ms", metavar="MS", help="with adaptive batching: keep batches small enough for this"
    )
    parser.add_argument(
        "--max-batch-cost", metavar="N", help="most cost of the jobs of a call; likewise (default: no budget)"
    )
    parser.add_argument(
        "--max-batch-bytes",
        metavar="N",
        help="most payload bytes of a call; likewise (default: 16 MiB)",
    )
    parser.add_argument("--concurrency", metavar="N", help="batches at the same time, per queue (default: 1)")
    parser.add_argument(
        "--drain-timeout-s", metavar="S", help="how long open batches may take when it leaves (default: 25)"
    )
    parser.add_argument(
        "--monitoring-address",
        metavar="[HOST:]PORT",
        help="serve metrics and health there over HTTP (default: nowhere)",
    )
    parser.add_argument(
        "--label",
        "--labels",
        dest="labels",
        metavar="LABEL",
        action="append",
        help="a label by which `microbatch workers` finds it; can be repeated",
    )
    parser.add_argument("--burst", action="store_true", help="leave when the queues are empty")
    parser.add_argument(
        "--log-format",
        metavar="FORM",
        help="`console`, `json`, or `auto`: JSON where stderr is no terminal (default: auto)",
    )
    parser.add_argument("--log-level", choices=LEVELS, default="info", help="how much to log (default: info)")


def run(arguments: argparse.Namespace) -> int:
    """Work until told to leave."""
    from microbatch.common.errors import DrainTimeout, ProcessorError
    from microbatch.console.loading import load_processor, show_user_traceback
    from microbatch.console.logs import log_to_stderr
    from microbatch.worker import Worker, WorkerSettings

    settings = WorkerSettings.from_command_line(
        connection_options(arguments) | {name: getattr(arguments, name) for name in _SETTINGS}
    )
    log_to_stderr(arguments.log_level, "json" if arguments.json else settings.log_format)
    worker = Worker([load_processor(spec) for spec in arguments.processors], settings=settings)
    # What was imported stays: a full collection that visits all of it holds every batch up for tens of ms.
    gc.freeze()
    try:
        worker.run(burst=arguments.burst)
    except DrainTimeout as error:
        jobs, them = ("job", "it") if error.handed_back == 1 else ("jobs", "them")
        complain(
            "microbatch worker",
            f"{error.why}: left before its batches were done and handed {error.handed_back} {jobs} back: "
            f"other workers go on with {them}",
        )
        _leave_at_once(ExitCode.HANDED_BACK)
    except ProcessorError as error:
        if error.__cause__ is not None:
            show_user_traceback(error.__cause__)
        raise UsageError(str(error), ExitCode.FAILED) from error
    except SystemExit as error:  # from the user's setup
        raise UsageError(f"a processor's setup left with {error.code!r}", ExitCode.FAILED) from error
    return ExitCode.DONE


def _leave_at_once(code: ExitCode) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
