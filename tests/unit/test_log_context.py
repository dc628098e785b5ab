from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import structlog

from microbatch.common.jobs.entry import Entry
from microbatch.common.log_context import CONTEXT_FIELDS, LogContext, bound
from microbatch.common.log_events import event_of
from microbatch.console.logs import log_to_stderr
from microbatch.worker.batch import Batch, Job
from microbatch.worker.log_binding import LogBinding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from microbatch.console.logs import LogFormat


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    yield
    root.setLevel(level)
    root.handlers[:] = handlers
    structlog.reset_defaults()


def a_job(local: str) -> Job[None]:
    return Job("q", Entry("main:1-0", local, "c", b"", 1), None, {})


def a_record(message: object = "hello", *args: object) -> logging.LogRecord:
    return logging.LogRecord("user", logging.INFO, __file__, 1, message, args, None)


def test_outside_of_a_batch_every_field_is_there_and_empty() -> None:
    record = a_record()
    assert LogContext().filter(record) is True
    assert [getattr(record, name) for name in CONTEXT_FIELDS] == [""] * len(CONTEXT_FIELDS)


def test_within_a_batch_lines_say_which_and_afterwards_no_more() -> None:
    jobs = [a_job("a"), a_job("b")]
    within, after = a_record(), a_record()
    with LogBinding("w").processing(Batch("b1", "q", "size", jobs)):
        with jobs[1].bound():
            LogContext().filter(within)
        LogContext().filter(after)
    assert (within.worker, within.queue, within.batch_id, within.job_id) == ("w", "q", "b1", "q/b")  # type: ignore[attr-defined] # set by the filter
    assert (after.batch_id, after.job_id) == ("b1", "")  # type: ignore[attr-defined] # as above


def test_in_a_batch_of_one_lines_are_about_its_job() -> None:
    record = a_record()
    with LogBinding("w").processing(Batch("b1", "q", "size", [a_job("a")])):
        LogContext().filter(record)
    assert record.job_id == "q/a"  # type: ignore[attr-defined] # as above


async def test_batches_that_run_at_the_same_time_keep_their_lines_apart() -> None:
    barrier = asyncio.Barrier(2)

    async def batch_id(name: str) -> str:
        with LogBinding("w").processing(Batch(name, "q", "size", [])):
            await barrier.wait()
            record = a_record()
            LogContext().filter(record)
            return str(record.batch_id)  # type: ignore[attr-defined] # as above

    assert list(await asyncio.gather(batch_id("b1"), batch_id("b2"))) == ["b1", "b2"]


def test_what_a_program_says_itself_is_not_overwritten() -> None:
    record = a_record()
    record.__dict__["job_id"] = "mine"
    with bound(job_id="q/a"):
        LogContext().filter(record)
    assert record.__dict__["job_id"] == "mine"


def test_json_has_the_event_its_facts_and_what_is_bound(capsys: pytest.CaptureFixture[str]) -> None:
    log_to_stderr("info", "auto")  # pytest's stderr is no terminal
    with bound(worker="w", queue="q", batch_id="b1"):
        logging.getLogger("microbatch.worker").warning("queue %s: claim failed: %s", "q", OSError("away\x1b"))
        logging.getLogger("user").info("mine: %s", 1)
    ours, user = map(json.loads, capsys.readouterr().err.splitlines())
    assert (ours["event"], ours["error"], ours["queue"], ours["batch_id"]) == (
        "claim_failed",
        "away\x1b",
        "q",
        "b1",
    )
    assert (user["message"], user["worker"], user["batch_id"], "event" in user) == (
        "mine: 1",
        "w",
        "b1",
        False,
    )


def test_a_line_for_people_ends_with_what_is_bound(capsys: pytest.CaptureFixture[str]) -> None:
    log_to_stderr("info", "console")
    with bound(worker="w", queue="q", batch_id="b1", job_id="q/a"):
        logging.getLogger("user").info("mine")
    logging.getLogger("user").info("outside")
    within, outside = capsys.readouterr().err.splitlines()
    assert within.endswith("Z [info     ] mine [user] queue=q batch_id=b1 job_id=q/a")
    assert outside.endswith("Z [info     ] outside [user]")


def test_what_a_user_says_beside_the_sentence_is_in_the_line(capsys: pytest.CaptureFixture[str]) -> None:
    log_to_stderr("info", "json")
    with bound(batch_id="b1", job_id="q/a"):
        logging.getLogger("user").info(
            "read %s", "it", extra={"event": "rows_read", "rows": 3, "job_id": "x"}
        )
    (line,) = map(json.loads, capsys.readouterr().err.splitlines())
    assert (line["event"], line["message"], line["rows"]) == ("rows_read", "read it", 3)
    assert (line["batch_id"], line["job_id"]) == ("b1", "x")


@pytest.mark.parametrize("form", ["json", "console"])
def test_lines_of_structlog_go_the_same_way(form: LogFormat, capsys: pytest.CaptureFixture[str]) -> None:
    log_to_stderr("info", form)
    with bound(batch_id="b1"), structlog.contextvars.bound_contextvars(tenant="t"):
        structlog.get_logger("user").info("rows_read", rows=3, of="a\x1b")
        structlog.get_logger("user").debug("not shown")
        logging.getLogger("user").info("and so does logging")
    ours, plain = capsys.readouterr().err.splitlines()
    if form == "console":
        assert ours.endswith(r"Z [info     ] rows_read [user] rows=3 of=a\x1b tenant=t batch_id=b1")
        assert plain.endswith("and so does logging [user] tenant=t batch_id=b1")
    else:
        said = json.loads(ours)
        assert (said["event"], said["rows"], said["of"]) == ("rows_read", 3, "a\x1b")
        assert (said["logger"], said["batch_id"], said["tenant"]) == ("user", "b1", "t")
        assert json.loads(plain)["tenant"] == "t"


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_traceback_that_came_as_text_is_shown(form: LogFormat, capsys: pytest.CaptureFixture[str]) -> None:
    log_to_stderr("info", form)
    record = a_record()
    record.exc_text = "Traceback\nOSError: there"
    logging.getLogger("user").handle(record)
    shown = capsys.readouterr().err
    assert shown.splitlines()[1:] == (["Traceback", "OSError: there"] if form == "console" else [])
    assert "OSError: there" in shown


def test_colours_are_for_terminals_that_want_them(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for is_terminal, no_colour, coloured in ((True, "", True), (True, "1", False), (False, "", False)):
        monkeypatch.setenv("NO_COLOR", no_colour)
        monkeypatch.setattr(sys.stderr, "isatty", lambda is_terminal=is_terminal: is_terminal)
        log_to_stderr("info", "console")
        logging.getLogger("user").info("hello")
        assert ("\x1b[" in capsys.readouterr().err) is coloured


def test_a_client_does_not_load_what_formats_a_worker_s_log() -> None:
    code = "import sys, microbatch.producer, microbatch.worker; print('structlog' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize("message", ["of somebody else: %s", 7, ["no", "text"]])
def test_a_line_that_is_none_of_ours_has_no_event(message: object) -> None:
    assert event_of(message, ("x",)) == ("", {})
