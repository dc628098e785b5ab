"""Exit codes, and the one mapping from errors to them.

Rule: an error that a command lets out ends here as one exit code and one line that says what to do. What is
not in the table is a bug of ours, code 70. Nothing here prints or exits.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ExitCode", "Refusal", "UsageError", "refusal_of"]


class ExitCode(IntEnum):
    """What the exit code of `microbatch` means; scripts and service managers rely on it."""

    DONE = 0
    FAILED = 1
    """The job failed, was cancelled, expired or was refused; of a worker: its processor's setup failed, or
    its monitoring address is taken."""
    USAGE = 2
    """Bad usage, settings, import or password: the next start would fail in the same way."""
    NOT_FOUND = 3
    """No such job, queue or result (yet)."""
    TIMED_OUT = 4
    REDIS_UNREACHABLE = 69
    BUG = 70
    HANDED_BACK = 75
    """The drain deadline passed or a second signal came; the rest was handed back."""
    INTERRUPTED = 130
    BROKEN_PIPE = 141


class Refusal(NamedTuple):
    """How a command ends that did not do what it was asked to."""

    code: ExitCode
    sentence: str


class UsageError(Exception):
    """What the user asked for cannot be done as asked; the sentence says how to ask.

    Attributes:
        code: The exit code.
    """

    def __init__(self, sentence: str, code: ExitCode = ExitCode.USAGE) -> None:
        super().__init__(sentence)
        self.code = code


_START_REDIS = "is it running? --redis-url or MICROBATCH_REDIS_URL says where, `microbatch server` starts one"
_CERTIFICATES = (
    "ssl_ca_certs, ssl_certfile, ssl_keyfile and the host in the URL have to fit: see deploy/README.md"
)
_PASSWORD = "check user and password in --redis-url or MICROBATCH_REDIS_URL, and the user's ACL rules"  # noqa: S105 - advice


def refusal_of(error: BaseException) -> Refusal:
    """The exit code and the line for an error."""
    if isinstance(error, UsageError):
        return Refusal(error.code, str(error))
    for kind, code, advice in _table():
        if isinstance(error, kind):
            what_to_do = _specific(error, advice).replace(
                "JOB_ID", getattr(error, "job_id", None) or "JOB_ID"
            )
            sentence = str(error) if str(error).endswith("...") else str(error).rstrip(".")
            return Refusal(code, f"{sentence}; {what_to_do}" if advice else str(error))
    if isinstance(error, OSError):  # such as a full disk under stdout
        return Refusal(ExitCode.FAILED, f"the system refused: {error}")
    return Refusal(
        ExitCode.BUG,
        f"this is a bug in microbatch: {type(error).__name__}: {error}; please report it with the output of "
        "the same command and --traceback",
    )


def _specific(error: Exception, advice: str) -> str:
    """What the error itself knows, or its causes say: a wrong certificate is no server that is down."""
    if advice == _START_REDIS:
        server, causes = getattr(error, "server", ""), list(_causes(error))
        fitting = (
            what
            for kind, part, what in _no_answer()
            if part in server and any(isinstance(cause, kind) for cause in causes)
        )
        return next(fitting, advice)
    return getattr(error, "advice", "") or advice


def _causes(error: BaseException) -> Iterator[BaseException]:
    """What led to an error, the last first: the system's own errors are at the end."""
    cause = error.__cause__ or error.__context__
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _no_answer() -> Iterator[tuple[type[Exception], str, str]]:
    """What the system said, a part of the server's URL, and what to do then; the first that fits."""
    from ssl import SSLError  # noqa: PLC0415 - help does without

    yield from (
        (FileNotFoundError, "ssl_", "a file that the URL names in ssl_... is not there"),
        (SSLError, "", _CERTIFICATES),
        (ConnectionResetError, "rediss", f"it may want another certificate of its clients: {_CERTIFICATES}"),
        (TimeoutError, "rediss", "is it running, and does it speak TLS at this port?"),
        (ConnectionResetError, "redis://", "is it running? Where it speaks TLS, write rediss://"),
    )


def _table() -> Iterator[tuple[type[Exception], ExitCode, str]]:
    """Error, exit code, and what to do. The first class that fits decides, so the special ones come first."""
    from microbatch.common import errors  # noqa: PLC0415 - takes long, and help never fails
    from microbatch.console.json_values import BadJson  # noqa: PLC0415 - as above

    yield from (
        (errors.AuthenticationFailed, ExitCode.USAGE, _PASSWORD),
        (errors.ConnectionFailed, ExitCode.REDIS_UNREACHABLE, _START_REDIS),
        (errors.DrainTimeout, ExitCode.HANDED_BACK, "other workers go on with them"),
        (errors.ResultNotFound, ExitCode.NOT_FOUND, "check the id (queue/local) and --redis-url"),
        (
            errors.ResultTimeout,
            ExitCode.TIMED_OUT,
            "the job goes on: `microbatch result JOB_ID --wait` asks again",
        ),
        (errors.SubmitTimeout, ExitCode.TIMED_OUT, "submitting again with the same --job-id is safe"),
        (errors.NotReplicated, ExitCode.TIMED_OUT, ""),  # its own sentence says what to do
        (errors.JobError, ExitCode.FAILED, ""),
        (errors.QueueFull, ExitCode.FAILED, "--timeout-s waits for room; more workers make it"),
        (errors.QueueDraining, ExitCode.FAILED, ""),  # its own sentence says what to do
        (errors.DuplicateJobId, ExitCode.FAILED, "use another --job-id"),
        (errors.ServerFull, ExitCode.FAILED, "raise maxmemory, or let the workers catch up"),
        (errors.SubmitError, ExitCode.FAILED, ""),
        (errors.ProtocolError, ExitCode.FAILED, "something else writes to these keys"),
        (BadJson, ExitCode.FAILED, ""),  # a result: a payload's is wrong usage
        (errors.AddressUnavailable, ExitCode.FAILED, "each process needs one of its own"),
        (errors.SettingsError, ExitCode.USAGE, "`microbatch config` shows what is in force"),
        (errors.ProcessorError, ExitCode.USAGE, ""),
        (errors.EmbeddedServerError, ExitCode.REDIS_UNREACHABLE, ""),
        (errors.ServerError, ExitCode.FAILED, "Redis 7.0 or Valkey 7.2 is the least that works"),
    )
