"""Exit codes: every error of ours has one, with advice; everything else is a bug."""

from __future__ import annotations

from ssl import SSLCertVerificationError
from typing import TYPE_CHECKING

import pytest
import redis

from microbatch.common import errors
from microbatch.common.redis_errors import translated
from microbatch.console.exits import ExitCode, UsageError, refusal_of
from microbatch.console.json_values import BadJson

if TYPE_CHECKING:
    from collections.abc import Iterator

JOB = "embed/1"


def all_errors(
    kind: type[errors.MicrobatchError] = errors.MicrobatchError,
) -> Iterator[type[errors.MicrobatchError]]:
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            yield child
            yield from all_errors(child)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.JobFailed(JOB, error_type="ValueError", error_message="no"), 1),
        (errors.JobCancelled(JOB), 1),
        (errors.JobExpired(JOB), 1),
        (errors.QueueFull("embed", retry_after_s=1), 1),
        (errors.DuplicateJobId(JOB), 1),
        (errors.PayloadError("no"), 1),
        (errors.PayloadTooLarge(2, 1), 1),
        (errors.ServerFull("full"), 1),
        (errors.ProtocolError("strange"), 1),
        (errors.AuthenticationFailed("WRONGPASS"), 2),
        (errors.SettingsError("no"), 2),
        (errors.AddressUnavailable("taken"), 1),  # a supervisor tries again
        (errors.ProcessorError("no"), 2),
        (UsageError("no"), 2),
        (BadJson("nested too deep to be shown"), 1),
        (errors.ResultNotFound(JOB), 3),
        (UsageError("no", ExitCode.NOT_FOUND), 3),
        (errors.ResultTimeout(JOB, 1), 4),
        (errors.SubmitTimeout("embed", 1), 4),
        (errors.NotReplicated(JOB, wanted=1, reached=0), 4),
        (errors.ConnectionFailed("down"), 69),
        (errors.EmbeddedServerError("no program"), 69),
        (errors.ServerError("ERR"), 1),
        (errors.ClientClosed(), 70),
        (AssertionError("what"), 70),
        (errors.DrainTimeout(3), 75),
    ],
)
def test_the_exit_code_of_an_error(error: Exception, code: int) -> None:
    assert refusal_of(error).code == code


def test_every_error_of_the_tree_has_an_exit_code_of_its_own_kind() -> None:
    # These two never reach a command: the worker catches one, the other is misuse of the client by us.
    unmapped = {errors.ClientClosed, errors.ResultMismatch}
    for kind in set(all_errors()) - unmapped:
        error = kind.__new__(kind)
        assert refusal_of(error).code is not ExitCode.BUG, kind


def test_the_line_says_what_to_do() -> None:
    assert "`microbatch result embed/1 --wait`" in refusal_of(errors.ResultTimeout(JOB, 1)).sentence
    assert "--redis-url" in refusal_of(errors.ConnectionFailed("Connection refused.")).sentence
    assert ".;" not in refusal_of(errors.ConnectionFailed("Connection refused.")).sentence


@pytest.mark.parametrize(
    ("url", "cause", "advice"),
    [
        ("rediss://h:1/0", SSLCertVerificationError("certificate has expired"), "ssl_ca_certs"),
        ("rediss://h:1/0", ConnectionResetError(104, "Connection reset by peer"), "ssl_certfile"),
        ("rediss://h:1/0?ssl_ca_certs=x", FileNotFoundError(2, "No such file"), "a file that the URL names"),
        ("rediss://h:1/0", TimeoutError(), "does it speak TLS"),
        ("redis://h:1/0", ConnectionResetError(104, "Connection reset by peer"), "rediss://"),
        ("redis://h:1/0", ConnectionRefusedError(111, "Connect call failed"), "is it running?"),
        ("unix:///no/such/socket", FileNotFoundError(2, "No such file"), "is it running?"),
    ],
)
def test_a_server_that_does_not_answer_may_want_something_else(
    url: str, cause: Exception, advice: str
) -> None:
    lost = redis.ConnectionError(str(cause))
    lost.__cause__ = cause
    failed = translated(lost, url)
    failed.__cause__ = lost
    refusal = refusal_of(failed)
    assert advice in refusal.sentence
    assert refusal.code == 69


def test_a_database_that_is_not_there_is_no_matter_of_the_version() -> None:
    refused = translated(redis.ResponseError("DB index is out of range"), "redis://h:1/99")
    assert "below `databases`" in refusal_of(refused).sentence
    assert "7.0" not in refusal_of(refused).sentence


def test_a_bug_is_named_and_can_be_reported() -> None:
    sentence = refusal_of(KeyError("x")).sentence
    assert "KeyError: 'x'" in sentence
    assert "--traceback" in sentence


def test_a_full_disk_is_no_bug_of_ours() -> None:
    assert refusal_of(OSError(28, "No space left on device")).code == 1
