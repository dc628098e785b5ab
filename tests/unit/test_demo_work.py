"""A producer's share: every item is handed out once, and its outcome says what really happened."""

from __future__ import annotations

import io
import json
import threading
from typing import TYPE_CHECKING

from microbatch.common.errors import JobFailed, QueueFull, ResultTimeout
from microbatch.console.demo.corpus import Docstring
from microbatch.console.demo.progress import Progress
from microbatch.console.demo.work import Outcome, Report, Work

if TYPE_CHECKING:
    import pytest

SHARE = [(number, Docstring(f"name{number}", "two words")) for number in range(0, 200, 2)]


def test_every_item_is_handed_out_once_whoever_asks() -> None:
    work = Work(SHARE)

    def requests() -> None:
        for item in work:
            item.accepted(f"q/{item.payload['name']}")
            item.answered({"row": 1, "tokens": 2})

    threads = [threading.Thread(target=requests) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(outcome.number for outcome in work.report().outcomes) == list(range(0, 200, 2))


def test_a_result_is_compared_with_the_producers_own_count() -> None:
    first, second = iter(work := Work(SHARE)), iter(work)
    for item, tokens in ((next(first), 2), (next(second), 3)):
        item.accepted("q/id")
        item.answered({"row": 7, "tokens": tokens})

    good, crossed = work.report().outcomes
    assert (good.ending, good.job_id, good.row, good.tokens_match) == ("result", "q/id", 7, True)
    assert (crossed.ending, crossed.tokens_match) == ("result", False)
    assert good.latency_ms >= 0


def test_an_error_before_acceptance_is_a_refusal_and_one_afterwards_is_the_jobs() -> None:
    items = iter(work := Work(SHARE))
    next(items).went_wrong(QueueFull("q", retry_after_s=1))
    failing = next(items)
    failing.accepted("q/1")
    failing.went_wrong(JobFailed("q/1", error_type="ValueError", error_message="boom"))

    refused, failed = work.report().outcomes
    assert (refused.ending, refused.job_id) == ("refused", "")
    assert (failed.ending, failed.job_id, failed.error) == (
        "failed",
        "q/1",
        "JobFailed: job q/1 failed: ValueError: boom",
    )


def test_after_a_result_that_never_came_nothing_more_is_handed_out() -> None:
    items = iter(work := Work(SHARE))
    item = next(items)
    item.accepted("q/1")
    item.went_wrong(ResultTimeout("q/1", 20))

    assert list(items) == []
    assert [outcome.ending for outcome in work.report().outcomes] == ["silent"]


def test_progress_is_told_as_json_lines(capsys: pytest.CaptureFixture[str]) -> None:
    item = next(iter(Work(SHARE)))
    item.accepted("q/1")
    item.answered({"row": 1, "tokens": 2})

    assert json.loads(capsys.readouterr().out) == {"done": 1}


def test_a_report_survives_its_journey() -> None:
    report = Report(
        (Outcome(3, "result", "q/1", 4, True, 1.5), Outcome(4, "refused", error="x\n\u2028")), 2.5
    )

    line = report.to_line()

    assert "\n" not in line
    assert Report.from_message(json.loads(line)) == report


def test_progress_elsewhere_than_on_a_terminal_is_a_line_now_and_then_and_one_at_the_end() -> None:
    stream, times_s = io.StringIO(), iter([0.0, 0.5, 2.1, 2.2, 4.0, 4.1, 4.2])
    with Progress(stream, clock=lambda: next(times_s)).counting("in batches", 2_000) as show:
        for done in (10, 1_000, 1_200, 1_999, 2_000, 2_000):
            show(done)

    assert stream.getvalue() == "in batches: 1,000 of 2,000\nin batches: 2,000 of 2,000\n"
