"""What doctor prints of its findings."""

from __future__ import annotations

from microbatch.console.doctor.finding import error, fine, warn
from microbatch.console.doctor.report import as_json, as_lines


def test_the_report_has_a_line_per_fact_and_per_remedy_and_counts() -> None:
    lines = as_lines(
        [fine("a", "good"), warn("b", "odd", "mend", subject="q"), error("c", "b\x1bad", "stop")]
    )

    assert lines == [
        "ok     a    good",
        "warn   b q  odd",
        "            -> mend",
        "error  c    b\\x1bad",
        "            -> stop",
        "1 error, 1 warning",
    ]


def test_the_report_for_machines_has_every_part() -> None:
    report = as_json([error("c", "bad", "stop", subject="q"), fine("a", "good")])

    assert report == {
        "errors": 1,
        "warnings": 0,
        "findings": [
            {"severity": "error", "check": "c", "subject": "q", "fact": "bad", "remedy": "stop"},
            {"severity": "ok", "check": "a", "subject": None, "fact": "good", "remedy": None},
        ],
    }
