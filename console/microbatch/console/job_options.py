"""The words of `microbatch job`: its options, which of them go together, and the filter that they make.

Rule: pure. What makes no sense is refused before anything is asked.
"""
# ruff: noqa: PLC0415 - what is heavy is imported by `run`, so that help comes at once

from __future__ import annotations

import argparse
import math
import re
from typing import TYPE_CHECKING, Final

from microbatch.console.exits import UsageError
from microbatch.console.options import count

if TYPE_CHECKING:
    from microbatch.console.job_filter import JobFilter

__all__ = ["add_job_options", "age", "check_words", "filter_of"]

_ACTIONS: Final = ("list", "show", "cancel", "retry")
_EPILOG: Final = """\
actions:
  list    the jobs that fit, --limit at a time; --after goes on
  show    all about one job: state, history, batch, log, error
  cancel  end jobs at once, also running ones
  retry   give failed jobs another run under their own ids; let jobs that are
          scheduled run now

states (--state, again for several):
  queued, running, scheduled    these three, where none is given
  dead                          failed for good, by the dead letters: the newest
                                first, and they can be retried
  succeeded, failed, cancelled, expired
                                records of finished jobs, in no order; all keys
                                of the server are looked through, in short steps

Times are 90, 90s, 15m, 2h or 1d. A job is named by its id, or in place of QUEUE
by its full id. `cancel` and `retry` of jobs that are not named want a filter,
and --yes. What is cancelled by a filter may have been begun meanwhile.

examples:
  $ microbatch job list embed
  $ microbatch job list embed --state running --worker host-1:4711:c0ffee
  $ microbatch job list embed --batch-key tenant-a --older-than 10m --json
  $ microbatch job show embed/order-17 --payload
  $ microbatch job cancel embed order-17 order-18
  $ microbatch job cancel embed --batch-key tenant-a --yes
  $ microbatch job retry embed --state dead --error TimeoutError --yes

exit codes: 0 done; 1 a job could not be cancelled or retried, or you said no;
2 wrong usage, settings or password; 3 no such queue or job; 69 Redis cannot be
reached
"""
_AGE: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)([smhd]?)")
_UNITS_S: Final = {"": 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400}
_FILTERS: Final = ("state", "older_than", "younger_than", "batch_key", "worker", "kind", "priority", "error")


def add_job_options(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    parser.epilog = _EPILOG
    parser.add_argument("action", metavar="ACTION", choices=_ACTIONS, help=", ".join(_ACTIONS))
    parser.add_argument("queue", metavar="QUEUE|JOB_ID", help="the queue; or the full id of a job")
    parser.add_argument("names", metavar="ID", nargs="*", help="jobs: show takes one, cancel and retry any")
    which = parser.add_argument_group("which jobs")
    which.add_argument("--state", metavar="STATE", action="append", help="in this state; may be given again")
    which.add_argument("--older-than", metavar="AGE", type=age, help="accepted longer ago than that")
    which.add_argument("--younger-than", metavar="AGE", type=age, help="accepted since then")
    which.add_argument("--batch-key", metavar="KEY", help="with this batch key")
    which.add_argument("--worker", metavar="ID", help="that this worker runs, or ran last")
    which.add_argument("--kind", metavar="KIND", help="for this processor of the queue")
    which.add_argument("--priority", metavar="N", type=int, help="of this priority")
    which.add_argument("--error", metavar="TYPE", help="whose error is of this type, such as TimeoutError")
    how = parser.add_argument_group("how")
    how.add_argument("--limit", metavar="N", type=count, default=100, help="list so many (default 100)")
    how.add_argument("--after", metavar="PLACE", help="list: go on where a page ended, as it said")
    how.add_argument("--all", action="store_true", help="list: all of them, page by page")
    how.add_argument("--payload", action="store_true", help="show: its payload too")
    how.add_argument("--log-lines", metavar="N", type=count, default=20, help="show: so many (default 20)")
    how.add_argument("--yes", action="store_true", help="cancel or retry what fits, without asking")


def check_words(arguments: argparse.Namespace) -> None:
    """See to it that the words go together; a full id in place of the queue becomes queue and name.

    Raises:
        UsageError: They do not.
    """
    _check_names(arguments)
    action, names = arguments.action, arguments.names
    filters = [name for name in _FILTERS if getattr(arguments, name) is not None]
    if action == "list" and names:
        raise UsageError("list takes no job; show shows one")
    if action == "show" and (len(names) != 1 or filters):
        raise UsageError("say which job to show, and nothing else; list lists them")
    if action in {"cancel", "retry"} and bool(names) == bool(filters):
        raise UsageError(f"say which jobs to {action}: their ids, or a filter such as --state")
    if action != "list" and (arguments.after is not None or arguments.all):
        raise UsageError("--after and --all are for list")
    if arguments.all and arguments.after is not None:
        raise UsageError("--all begins at the beginning; --after does not go with it")
    if arguments.payload and action != "show":
        raise UsageError("--payload is for show")


def _check_names(arguments: argparse.Namespace) -> None:
    from microbatch.common.identifiers import check_queue, local_id, split_job_id
    from microbatch.console.job_place import Place

    try:
        if "/" in arguments.queue:
            arguments.names = [arguments.queue, *arguments.names]
            arguments.queue, _ = split_job_id(arguments.queue)
        check_queue(arguments.queue)
        for name in arguments.names:
            local_id(arguments.queue, name)
        if arguments.after is not None:
            Place.parse(arguments.after)
    except ValueError as error:
        raise UsageError(str(error)) from error


def filter_of(arguments: argparse.Namespace) -> JobFilter:
    """The filter that the options make.

    Raises:
        UsageError: None that can be, or none for this action.
    """
    from microbatch.console.job_filter import DEAD, LIVE_STATES, STATES, JobFilter

    allowed = {"cancel": LIVE_STATES, "retry": {DEAD, "scheduled"}}.get(arguments.action, set(STATES))
    default = {DEAD} if arguments.action == "retry" else LIVE_STATES
    said = {"queued" if state == "waiting" else state for state in arguments.state or ()}
    try:
        wanted = JobFilter(
            said or default,
            arguments.older_than,
            arguments.younger_than,
            arguments.batch_key,
            arguments.worker,
            arguments.kind,
            arguments.priority,
            arguments.error,
        )
        return wanted.within(allowed)
    except ValueError as error:
        raise UsageError(str(error)) from error


def age(text: str) -> float:
    """Read a span of time, in seconds.

    Raises:
        argparse.ArgumentTypeError: It is none.
    """
    match = _AGE.fullmatch(text)
    value = float(match[1]) * _UNITS_S[match[2]] if match else math.inf
    if value == math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no time such as 90s, 15m, 2h or 1d")
    return value
