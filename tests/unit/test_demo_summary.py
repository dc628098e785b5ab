"""The demo's numbers: what counts as lost, duplicate and crossed, and how it is told."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from microbatch.console.demo.index import Found, Hit, Row
from microbatch.console.demo.summary import PassSummary, Summary, percentile, summarise
from microbatch.console.demo.work import Outcome, Report

NAMES = ["a", "b", "c", "d"]
GOOD = [Outcome(number, "result", f"q/{number}", number + 1, True, 10.0 * number) for number in range(4)]
ROWS = [Row(number + 1, f"q/{number}", NAMES[number]) for number in range(4)]


def _summarise(outcomes: list[Outcome], rows: list[Row] = ROWS) -> PassSummary:
    return summarise(
        [Report(tuple(outcomes[::2]), 2.0), Report(tuple(outcomes[1::2]), 1.0)],
        names=NAMES,
        rows=rows,
        batches=[(3, "size"), (1, "wait")],
        max_batch_size=3,
    )


def _changed(number: int, outcome: Outcome) -> list[Outcome]:
    return [*GOOD[:number], outcome, *GOOD[number + 1 :]]


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [
        ([], 50, 0.0),
        ([7.0], 50, 7.0),
        ([7.0], 99, 7.0),
        ([4.0, 1.0, 3.0, 2.0], 50, 2.0),
        ([float(value) for value in range(1, 101)], 99, 99.0),
        ([float(value) for value in range(1, 102)], 99, 100.0),
        ([1.0, 2.0], 0, 1.0),
        ([1.0, 2.0], 100, 2.0),
    ],
)
def test_a_percentile_is_the_smallest_value_that_covers_the_share(
    values: list[float], percent: float, expected: float
) -> None:
    assert percentile(values, percent) == expected


def test_a_pass_in_which_every_job_has_its_own_result_is_good() -> None:
    one = _summarise(GOOD)

    assert one.ok
    assert (one.jobs, one.lost, one.duplicates, one.crossed, one.failed) == (4, 0, 0, 0, 0)
    assert (one.elapsed_s, one.jobs_per_s) == (2.0, 2.0)
    assert (one.batches, one.mean_batch_size) == (2, 2.0)
    assert one.closed_by == {"size": 0.5, "wait": 0.5}
    assert (one.latency_p50_ms, one.latency_p99_ms) == (10.0, 30.0)


def test_a_job_without_an_answer_is_lost() -> None:
    one = _summarise(_changed(1, Outcome(1, "silent", "q/1", error="ResultTimeout: none")))

    assert (one.lost, one.failed, one.ok, one.first_error) == (1, 0, False, "ResultTimeout: none")


def test_a_job_with_a_result_and_no_row_is_lost_too() -> None:
    one = _summarise(GOOD, ROWS[:3])

    assert (one.lost, one.crossed, one.ok) == (1, 0, False)


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome(1, "failed", "q/1", error="JobFailed: boom"),
        Outcome(1, "refused", error="QueueFull: full"),
    ],
)
def test_a_failed_or_refused_job_is_not_lost_but_the_pass_is_not_good(outcome: Outcome) -> None:
    one = _summarise(_changed(1, outcome))

    assert (one.lost, one.failed, one.ok, one.first_error) == (0, 1, False, outcome.error)


def test_a_job_that_was_never_submitted_makes_the_pass_fail() -> None:
    one = _summarise(GOOD[:3])

    assert (one.jobs, one.failed, one.ok) == (3, 1, False)


def test_two_rows_of_one_job_are_a_duplicate() -> None:
    one = _summarise(GOOD, [Row(9, "q/1", "b"), *ROWS])

    assert (one.duplicates, one.ok) == (1, False)


def test_two_results_with_one_row_are_a_duplicate_and_one_of_them_is_crossed() -> None:
    one = _summarise(_changed(1, replace(GOOD[1], row=1)))

    assert (one.duplicates, one.crossed, one.ok) == (1, 1, False)


def test_a_result_with_another_docstrings_words_is_crossed() -> None:
    one = _summarise(_changed(1, replace(GOOD[1], tokens_match=False)))

    assert (one.crossed, one.ok) == (1, False)


def test_exchanged_results_of_equal_length_are_both_crossed() -> None:
    exchanged = [replace(GOOD[0], row=GOOD[1].row), replace(GOOD[1], row=GOOD[0].row), *GOOD[2:]]

    assert (_summarise(exchanged).crossed, _summarise(exchanged).duplicates) == (2, 0)


def test_exchanged_payloads_are_crossed_although_every_id_has_its_row() -> None:
    rows = [Row(1, "q/0", "b"), Row(2, "q/1", "a"), *ROWS[2:]]

    assert _summarise(GOOD, rows).crossed == 2


def test_a_pass_without_any_result_has_no_rates_and_divides_by_nothing() -> None:
    one = summarise([], names=NAMES, rows=[], batches=[], max_batch_size=1)

    assert (one.jobs_per_s, one.mean_batch_size, one.latency_p99_ms, one.ok) == (0.0, 0.0, 0.0, False)


def some_summary(query: str = "event loop", found: Found | None = None, **changes: object) -> Summary:
    batched = _summarise(GOOD)
    single = replace(batched, jobs=2, jobs_per_s=0.5, **changes)  # type: ignore[arg-type] # fields by name
    found = Found(1, (Hit("m.f", "an [event] [loop]"),)) if found is None else found
    return Summary(batched=batched, single=single, query=query, found=found, elapsed_s=3.5)


def test_the_text_has_both_passes_side_by_side_the_ratio_and_the_hits() -> None:
    text = some_summary().as_text()

    (lost,) = [line.split() for line in text.splitlines() if line.strip().startswith("lost")]
    assert lost == ["lost", "0", "0"]
    assert "50% size, 50% wait" in text
    assert "4.0 times as fast (jobs per second; one at a time an even sample of 2 was done)." in text
    assert "First error" not in text
    assert "  m.f\n      an [event] [loop]" in text


def test_what_docstrings_and_errors_say_cannot_steer_the_terminal() -> None:
    found = Found(1, (Hit("m\x1b[31m", "red\n  and\x1b]0;title\x07 \u202ereversed"),))

    text = some_summary("\x1b[2J", found, first_error="\x1b[1mboom\r").as_text()

    assert not any(char != "\n" and not char.isprintable() for char in text)
    assert r"red and\x1b]0;title\x07 \u202ereversed" in text


def test_a_search_without_hits_says_so() -> None:
    assert (
        "No docstring in the index has all the words of 'xyzzy'."
        in some_summary("xyzzy", Found(0, ())).as_text()
    )


def test_one_bad_pass_makes_the_demo_fail() -> None:
    assert some_summary().ok
    assert not some_summary(crossed=1).ok


def test_the_ratio_to_a_pass_without_results_is_0() -> None:
    summary = some_summary()

    assert replace(summary, single=replace(summary.single, jobs_per_s=0.0)).ratio == 0.0


def test_the_dict_is_json_with_every_number() -> None:
    data = json.loads(json.dumps(some_summary().as_dict()))

    assert data["ok"] is True
    assert data["ratio"] == 4.0
    assert data["batched"]["closed_by"] == {"size": 0.5, "wait": 0.5}
    assert data["found"] == {"total": 1, "hits": [{"name": "m.f", "snippet": "an [event] [loop]"}]}
