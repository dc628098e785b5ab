"""The live view fits its screen, and says first what matters most."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from microbatch.console.survey import ErrorRow, QueueRow, Survey, WorkerRow
from microbatch.console.top_view import view

NOW = datetime(2030, 1, 31, 12, tzinfo=UTC)


def a_queue(name: str, waiting: int = 1_234_567, workers: int = 3) -> QueueRow:
    return QueueRow(name, waiting, 4_096, 77, workers, 12, 61.5, 12_345.6, 400.0, 0.93, 1_250)


def a_worker(name: str, state: str = "working") -> WorkerRow:
    return WorkerRow(f"{name}.example.com:4711:cdfbf55e", ["embed", "index"], state, 2, 64, 0.4)


def an_error(message: str) -> ErrorRow:
    return ErrorRow(NOW, "embed", "embed/01a216302f75b5a335e3f8adf6c80f9dde91074feae7", "ValueError", message)


def shown(survey: Survey, width: int, height: int, trouble: str = "") -> list[str]:
    console = Console(width=width, height=height, file=io.StringIO(), color_system=None)
    console.print(view(survey, console, seen_at=NOW, trouble=trouble))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


LONG = Survey(
    [a_queue("a-queue-with-a-rather-long-name-in-production"), a_queue("embed")],
    [a_worker("host-1"), a_worker("host-2", "silent")],
    [an_error("nothing \x1b[2J there\nat all " * 9)],
)


@pytest.mark.parametrize("width", [20, 30, 64, 80, 200])
def test_no_line_is_wider_than_the_screen(width: int) -> None:
    lines = shown(LONG, width, 24)
    assert max(map(len, lines)) <= width
    assert all(line.isprintable() for line in lines)


def test_eighty_columns_show_every_number_in_full_and_names_in_part() -> None:
    titles, longest, short = shown(LONG, 80, 24)[1:4]
    assert {"QUEUE", "WAITING", "RUNNING", "JOBS/S", "FILL", "P95", "OLDEST"} <= set(titles.split())
    assert "…" in longest
    assert longest.split()[1:4] == short.split()[1:4]
    assert short.split()[:2] == ["embed", "1,234,567"]


def test_a_small_screen_keeps_what_waits() -> None:
    titles = shown(LONG, 30, 24)[1]
    assert titles.split() == ["QUEUE", "WAITING"]


def test_a_wide_screen_shows_everything() -> None:
    lines = shown(LONG, 200, 24)
    assert len(lines[1].split()) == 10
    assert not any("…" in line for line in lines[:7])


@given(
    st.integers(0, 60), st.integers(0, 60), st.integers(0, 10), st.integers(14, 60), st.sampled_from([40, 80])
)
def test_all_of_it_fits_the_height(queues: int, workers: int, errors: int, height: int, width: int) -> None:
    survey = Survey(
        [a_queue(f"q{n}") for n in range(queues)],
        [a_worker(f"w{n}") for n in range(workers)],
        [an_error("no")] * errors,
    )
    assert len(shown(survey, width, height)) <= height


def test_where_not_all_fit_the_busiest_queues_and_the_silent_workers_are_shown() -> None:
    survey = Survey(
        [a_queue(f"q{n:02}", waiting=n) for n in range(50)],
        [*(a_worker(f"w{n:02}") for n in range(50)), a_worker("zz", "silent")],
        [],
    )
    text = "\n".join(shown(survey, 100, 24))
    assert "q49" in text
    assert "q00" not in text
    assert "zz.example" in text
    assert "more queues" in text
    assert "more workers" in text


def test_trouble_stands_first_with_the_moment_of_the_last_look() -> None:
    first = shown(LONG, 80, 24, trouble="Redis does not\nanswer")[0]
    assert first == "as of 12:00:00Z: Redis does not\\nanswer"
