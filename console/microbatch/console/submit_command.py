"""`microbatch submit`: one job, or a file of them.

Rule: stdout has ids or results and nothing else, so that it can be piped on; a job that was refused or failed
is also told by the exit code.
"""
# ruff: noqa: PLC0415 - what is heavy is imported by `run`, so that help comes at once

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from microbatch.console.exits import ExitCode, UsageError, refusal_of
from microbatch.console.options import moment, seconds
from microbatch.console.terminal import complain, print_json

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from typing import Any, TextIO

    from microbatch.producer import SubmitOptions

__all__ = ["add_arguments", "run"]

PROG = "microbatch submit"
MOST_HEADERS_BYTES = 1024
_EPILOG = """\
examples:
  $ microbatch submit shout '"hello"'                    prints the job's id
  $ microbatch submit shout '"hello"' --wait             prints "HELLO"
  $ microbatch submit shout --file jobs.jsonl --wait --output results.jsonl
  $ generate | microbatch submit shout --file - --wait | consume

A payload is JSON: a string needs its own quotes. Bytes are
{"$bytes": "aGVsbG8="} (base64), both ways; numbers that JSON lacks are
{"$float": "NaN"}, "Infinity" and "-Infinity"; datetimes come back as ISO 8601.

A file has one payload a line; blank lines are passed over. Each line is
answered, in order: with --wait by {"id": .., "result": ..} or
{"id": .., "error": {"type": .., "message": ..}}, otherwise by the job's id;
a line that became no job by {"id": null, "error": ..}.

exit codes: 0 done; 1 a job failed, was cancelled, expired or was refused;
2 wrong usage, settings or password; 4 timed out; 69 Redis cannot be reached
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    parser.epilog = _EPILOG
    parser.add_argument("queue", metavar="QUEUE", help="the queue's name")
    parser.add_argument("payload", metavar="PAYLOAD_JSON", nargs="?", help="the job's payload, as JSON")
    parser.add_argument("--wait", action="store_true", help="wait for the result and print it as JSON")
    parser.add_argument(
        "--timeout-s",
        metavar="S",
        type=seconds,
        help="give up after so many seconds in all; a full queue is then waited for, and otherwise refuses "
        "at once",
    )
    parser.add_argument(
        "--job-id",
        metavar="ID",
        help="the id within the queue; the same id and payload again is the same job",
    )
    parser.add_argument(
        "--kind", metavar="KIND", help="which of the processors that share the queue is to process it"
    )
    parser.add_argument(
        "--unique-key",
        metavar="KEY",
        help="where a job of the queue has this key already, add nothing and take that one",
    )
    parser.add_argument(
        "--unique-for-s",
        metavar="S",
        type=seconds,
        help="the key is taken for so many seconds at least; otherwise while the job is alive",
    )
    parser.add_argument(
        "--priority", metavar="N", type=int, help="higher goes first, -100 to 100 (default: 0)"
    )
    parser.add_argument(
        "--cost", metavar="N", type=int, help="what the job takes, for budgets and limits (default: 1)"
    )
    parser.add_argument("--batch-key", metavar="KEY", help="only jobs of one key share a batch")
    parser.add_argument("--delay-s", metavar="S", type=seconds, help="not before so many seconds from now")
    parser.add_argument(
        "--run-at",
        metavar="TIME",
        type=moment,
        help="not before this moment: ISO 8601 with an offset, such as 2030-01-31T09:00+01:00",
    )
    parser.add_argument(
        "--expires-in-s", metavar="S", type=seconds, help="never begun later than so many seconds from now"
    )
    parser.add_argument(
        "--max-attempts", metavar="N", type=int, help="runs at most, where it fails (default: its worker's)"
    )
    parser.add_argument(
        "--durability",
        choices=("fast", "replicated"),
        default="fast",
        help="replicated: accepted only once the replicas have the job, too (default: fast)",
    )
    parser.add_argument("--file", metavar="FILE", help="a file with one JSON payload a line; - is stdin")
    parser.add_argument("--output", metavar="FILE", help="where the answers go; - is stdout (default)")


def run(arguments: argparse.Namespace) -> int:
    """Submit what was given."""
    import asyncio

    _check(arguments)
    if arguments.file is not None:
        return asyncio.run(_submit_file(arguments))
    return asyncio.run(_submit_one(arguments, _payload(arguments.payload)))


def _check(arguments: argparse.Namespace) -> None:
    from microbatch.common.identifiers import check_local_id, check_queue
    from microbatch.producer.options import terms_of

    if (arguments.payload is None) == (arguments.file is None):
        raise UsageError(f"give either PAYLOAD_JSON or --file; see {PROG} --help")
    if arguments.file is None and arguments.output is not None:
        raise UsageError("--output goes with --file; a single job's answer is on stdout")
    if arguments.file is not None and arguments.job_id is not None:
        raise UsageError("--job-id is for a single job, not for --file")
    if arguments.file is not None and arguments.unique_key is not None:
        raise UsageError("--unique-key is for a single job, not for --file")
    if arguments.unique_key is None and arguments.unique_for_s is not None:
        raise UsageError("--unique-for-s goes with --unique-key")
    try:
        terms_of(_options(arguments), max_headers_bytes=MOST_HEADERS_BYTES)
        check_queue(arguments.queue)
        if arguments.job_id is not None:
            check_local_id(arguments.job_id)
    except ValueError as error:
        raise UsageError(str(error)) from error


def _options(arguments: argparse.Namespace) -> SubmitOptions:
    return {
        "on_full": "raise" if arguments.timeout_s is None else "wait",
        "timeout_s": arguments.timeout_s,
        "kind": arguments.kind,
        "unique_key": arguments.unique_key,
        "unique_for_s": arguments.unique_for_s,
        "priority": arguments.priority,
        "batch_key": arguments.batch_key,
        "cost": arguments.cost,
        "delay_s": arguments.delay_s,
        "run_at": arguments.run_at,
        "expires_in_s": arguments.expires_in_s,
        "max_attempts": arguments.max_attempts,
        "durability": arguments.durability,
    }


def _payload(text: str) -> Any:
    from microbatch.console.json_values import BadJson, parse_json

    try:
        return parse_json(text)
    except BadJson as error:
        hint = """; a string needs quotes of its own: '"..."'""" if text[:1].isalpha() else ""
        raise UsageError(f"PAYLOAD_JSON is {error}{hint}") from error


async def _submit_one(arguments: argparse.Namespace, payload: Any) -> int:
    from microbatch.common.clock import Deadline, SystemClock
    from microbatch.common.errors import MicrobatchError, ResultTimeout
    from microbatch.console.connecting import connected
    from microbatch.console.outcomes import error_line

    job_id = None
    async with connected(arguments) as client:
        deadline = Deadline.after(arguments.timeout_s, SystemClock())
        try:
            job = await client.submit(
                arguments.queue,
                payload,
                job_id=arguments.job_id,
                **_options(arguments),
            )
            job_id = job.id
            if arguments.wait:
                print_json(await job.result(timeout_s=deadline.left_s()))
            elif arguments.json:
                print_json({"id": job.id, "queue": job.queue, "result_key": job.result_key})
            else:
                print(job.id)
        except MicrobatchError as error:
            if isinstance(error, ResultTimeout):  # it knows only what the submit left of the time
                error = ResultTimeout(job_id, arguments.timeout_s)
            if arguments.json:
                print_json(error_line(job_id, error))
            raise error from None
    return ExitCode.DONE


async def _submit_file(arguments: argparse.Namespace) -> int:
    from microbatch.common.clock import Deadline, SystemClock
    from microbatch.common.errors import MicrobatchError
    from microbatch.console.connecting import connected
    from microbatch.console.file_submission import FileSubmission, Manner
    from microbatch.console.job_lines import JobLines
    from microbatch.console.progress import progress

    lines = JobLines(arguments.file)
    to_stdout = arguments.output in (None, "-")
    async with connected(arguments) as client:
        deadline = Deadline.after(arguments.timeout_s, SystemClock())
        options = _options(arguments)
        manner = Manner(arguments.queue, deadline, wait=arguments.wait, json=arguments.json, options=options)
        with (
            _output(arguments) as output,
            progress(PROG, total_bytes=lines.size_bytes, results_on_stdout=to_stdout) as advance,
        ):
            submission = FileSubmission(client, manner, output, advance)
            try:
                await submission.run(lines)
            except MicrobatchError as error:
                code, sentence = refusal_of(error)
                raise UsageError(f"{sentence}; lines answered before: {submission.done:,}", code) from error
    return _told(submission.done, submission.failed, timed_out=submission.timed_out)


def _told(done: int, failed: int, *, timed_out: bool) -> int:
    if timed_out:
        complain(PROG, f"timed out: {done:,} lines were answered, {failed:,} of them with an error")
        return ExitCode.TIMED_OUT
    if failed:
        complain(
            PROG, f'{failed:,} of {done:,} lines were answered with an error: look for "error" in the output'
        )
        return ExitCode.FAILED
    return ExitCode.DONE


@contextlib.contextmanager
def _output(arguments: argparse.Namespace) -> Iterator[TextIO]:
    if arguments.output in (None, "-"):
        yield sys.stdout
        return
    path = Path(arguments.output)
    if arguments.file != "-" and path.exists() and path.samefile(arguments.file):
        raise UsageError("--output is the same file as --file")
    try:
        output = path.open("w", encoding="utf-8", newline="\n")
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error
    with output:
        yield output
