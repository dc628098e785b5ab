"""The demo's index: what a batch leaves in it, also when it comes twice, and what it answers."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from typing import TYPE_CHECKING

import pytest

from microbatch.common.jobs.entry import Entry as StreamEntry
from microbatch.console.demo import processor
from microbatch.console.demo.index import Entry, Hit, Index, IndexUnavailable, Row
from microbatch.console.demo.processor import INDEX_VARIABLE
from microbatch.worker import Batch, Job

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    Index.create(tmp_path / "index.sqlite")
    return tmp_path / "index.sqlite"


@pytest.fixture
def index(path: Path) -> Iterator[Index]:
    with Index(path) as opened:
        yield opened


def _entry(number: int, body: str = "") -> Entry:
    return Entry(f"q/{number}", f"module.name{number}", body, len(body.split()))


def test_each_job_has_a_row_of_its_own(index: Index) -> None:
    rows = index.add("batch", "size", [_entry(1), _entry(2)])

    assert set(rows) == {"q/1", "q/2"}
    assert sorted(index.rows(), key=lambda row: row.job_id) == [
        Row(rows["q/1"], "q/1", "module.name1"),
        Row(rows["q/2"], "q/2", "module.name2"),
    ]


def test_a_job_that_runs_again_adds_nothing_and_has_the_same_row(index: Index) -> None:
    first = index.add("batch1", "size", [_entry(1), _entry(2, "word")])

    second = index.add("batch2", "recovery", [_entry(2, "word"), _entry(3)])

    assert second["q/2"] == first["q/2"]
    assert len(index.rows()) == 3
    assert index.search("word", limit=5).total == 1
    assert sorted(index.batches()) == [(2, "recovery"), (2, "size")]


def test_a_batch_that_fails_half_way_leaves_nothing(path: Path, index: Index) -> None:
    with sqlite3.connect(path) as database:
        database.execute(
            "CREATE TRIGGER break BEFORE INSERT ON jobs WHEN new.job_id = 'q/2' "
            "BEGIN SELECT raise(ABORT, 'disk on fire'); END"
        )
    database.close()

    with pytest.raises(sqlite3.IntegrityError, match="disk on fire"):
        index.add("batch", "size", [_entry(1), _entry(2)])

    assert (index.rows(), index.batches()) == ([], [])
    assert index.add("batch", "wait", [_entry(3)]) == {"q/3": 1}


def test_two_writers_wait_for_each_other(path: Path) -> None:
    def write(first: int) -> None:
        with Index(path) as mine:
            for number in range(first, first + 50):
                mine.add(f"batch{number}", "size", [_entry(number)])

    writers = [threading.Thread(target=write, args=(first,)) for first in (0, 50)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()

    with Index(path) as index:
        assert {row.job_id for row in index.rows()} == {f"q/{number}" for number in range(100)}


def test_a_search_finds_what_has_all_words_best_first_with_the_words_marked(index: Index) -> None:
    index.add(
        "batch",
        "size",
        [
            _entry(1, "the loop of an event is long and tells of much else"),
            _entry(2, "event loop"),
            _entry(3, "loop"),
        ],
    )

    found = index.search("event LOOP", limit=1)

    assert found.total == 2
    assert found.hits == (Hit("module.name2", "[event] [loop]"),)


@pytest.mark.parametrize("query", ["", "  ", '"', "(", "*", "AND", "body:", "NEAR(", "a -", "x'--", "\0"])
def test_a_query_is_words_and_never_syntax(index: Index, query: str) -> None:
    assert index.search(query, limit=5).total == 0


def test_a_file_that_nobody_created_is_not_made_by_opening_it(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        Index(tmp_path / "missing")

    assert list(tmp_path.iterdir()) == []


def test_a_sqlite_without_fts5_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("microbatch.console.demo.index._SCHEMA", ("CREATE VIRTUAL TABLE t USING fts5x(a)",))

    with pytest.raises(IndexUnavailable, match="has no full-text index"):
        Index.create(tmp_path / "index.sqlite")


def test_the_processor_answers_each_job_with_its_row_and_its_words(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(INDEX_VARIABLE, str(path))
    payloads = [{"name": "a", "text": "First.\n\n        Indented, cleaned."}, {"name": "b", "text": ""}]
    jobs = [
        Job("docstrings", StreamEntry(f"main:{number}-0", f"j{number}", "", b"", number), payload, {})
        for number, payload in enumerate(payloads)
    ]

    with contextlib.closing(processor._opened()):
        answer = processor.index(Batch("batch", "docstrings", "wait", jobs))
    processor._opened.cache_clear()

    with Index(path) as index:
        rows = {row.job_id: row.row for row in index.rows()}
        assert index.batches() == [(2, "wait")]
        assert index.search("cleaned", limit=1).hits == (Hit("a", "First.\n\nIndented, [cleaned]."),)
    assert answer == {
        "docstrings/j0": {"row": rows["docstrings/j0"], "tokens": 3},
        "docstrings/j1": {"row": rows["docstrings/j1"], "tokens": 0},
    }
