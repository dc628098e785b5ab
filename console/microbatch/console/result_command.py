"""`microbatch result`: the result of a job, by its id, from any host.

Rule: stdout has the result and nothing else; a job without a result is told by the exit code and one line.
"""
# ruff: noqa: PLC0415 - what is heavy is imported by `run`, so that help comes at once

from __future__ import annotations

from typing import TYPE_CHECKING

from microbatch.console.exits import ExitCode, UsageError
from microbatch.console.options import seconds
from microbatch.console.terminal import print_json

if TYPE_CHECKING:
    import argparse

__all__ = ["add_arguments", "run"]

_EPILOG = """\
examples:
  $ microbatch result shout/018f2c5e9b1a7c3d8e4f5a6b7c8d9e0f
  $ microbatch result shout/order-17 --wait --timeout-s 60

Bytes are printed as {"$bytes": base64}, datetimes as ISO 8601 text. With
--json an error is printed too, as {"id": .., "error": {"type": .., "message":
..}}, and a job that is not finished as {"id": .., "state": ..}.

exit codes: 0 done; 1 the job failed, was cancelled or expired; 2 wrong usage,
settings or password; 3 no such job, or no result (yet); 4 timed out; 69 Redis
cannot be reached
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    parser.epilog = _EPILOG
    parser.add_argument("job_id", metavar="JOB_ID", help="the full id that submit printed: queue/local")
    parser.add_argument("--wait", action="store_true", help="wait until the job is finished")
    parser.add_argument(
        "--timeout-s", metavar="S", type=seconds, help="wait, but for so many seconds at most; implies --wait"
    )


def run(arguments: argparse.Namespace) -> int:
    """Show the result."""
    import asyncio

    from microbatch.common.identifiers import split_job_id

    try:
        split_job_id(arguments.job_id)
    except ValueError as error:
        raise UsageError(str(error)) from error
    return asyncio.run(_show(arguments))


async def _show(arguments: argparse.Namespace) -> int:
    from microbatch.common.errors import MicrobatchError
    from microbatch.console.connecting import connected
    from microbatch.console.outcomes import error_line

    async with connected(arguments) as client:
        job = client.job(arguments.job_id)
        try:
            if not arguments.wait and arguments.timeout_s is None:
                status = await job.status()
                if not status.state.is_final:
                    if arguments.json:
                        print_json({"id": job.id, "state": status.state})
                    raise UsageError(
                        f"job {job.id} is {status.state} and has no result yet; --wait waits for it",
                        ExitCode.NOT_FOUND,
                    )
            print_json(await job.result(timeout_s=arguments.timeout_s))
        except MicrobatchError as error:
            if arguments.json:
                print_json(error_line(job.id, error))
            raise
    return ExitCode.DONE
