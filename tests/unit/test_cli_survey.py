"""Rates and states of `microbatch top`, from batches and workers of the test's own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from microbatch.common.jobs.update import BatchSummary
from microbatch.common.scripts import Fleet, QueueStatus, WorkerSight
from microbatch.console.survey import MOST_BATCHES, just_settled, queue_row, worker_rows

NOW = datetime(2030, 1, 1, tzinfo=UTC)
NOW_MS = int(NOW.timestamp() * 1000)
STATUS = QueueStatus(
    waiting=3, running=2, dead=1, oldest_age_s=None, workers=1, max_batch_size=10, max_wait_ms=5.0
)


def batch(size: int, *, ago_s: float, waited_ms: int = 0, run_ms: int = 0) -> BatchSummary:
    ended = NOW - timedelta(seconds=ago_s)
    return BatchSummary("b", size, "wait", "w", ended, ended, waited_ms, run_ms)


def test_rates_are_those_of_the_last_ten_seconds() -> None:
    row = queue_row("q", STATUS, [batch(5, ago_s=1), batch(10, ago_s=9), batch(10, ago_s=11)], NOW_MS)
    assert (row.jobs_per_s, row.batches_per_s, row.fill) == (1.5, 0.2, 0.75)
    assert (row.waiting, row.running, row.dead) == (3, 2, 1)


def test_where_more_batches_ended_than_are_read_the_window_is_shorter() -> None:
    batches = [batch(1, ago_s=index * 2 / MOST_BATCHES) for index in range(1, MOST_BATCHES + 1)]
    assert queue_row("q", STATUS, batches, NOW_MS).jobs_per_s == pytest.approx(MOST_BATCHES / 2)


def test_p95_counts_jobs_and_not_batches() -> None:
    small, large = batch(1, ago_s=1, waited_ms=900, run_ms=100), batch(99, ago_s=1, waited_ms=4, run_ms=6)
    assert queue_row("q", STATUS, [small, large], NOW_MS).p95_ms == 10
    assert queue_row("q", STATUS, [small], NOW_MS).p95_ms == 1000


def test_a_queue_where_nothing_ended_has_no_fill_and_no_p95() -> None:
    row = queue_row("q", STATUS, [], NOW_MS)
    assert (row.jobs_per_s, row.fill, row.p95_ms) == (0, None, None)


@pytest.mark.parametrize(
    ("sights", "state"),
    [
        ([("idle", 0, 1.0)], "idle"),
        ([("watching", 0, 1.0), ("idle", 0, 1.0)], "watching"),
        ([("idle", 0, 1.0), ("", 2, 1.0)], "working"),
        ([("", 0, 1.0)], "aside"),
        ([("idle", 0, 11.0), ("", 2, 12.0)], "silent"),
        ([("idle", 0, 11.0), ("", 0, 1.0)], "idle"),
    ],
)
def test_a_worker_of_several_queues_has_one_state(sights: list[tuple[str, int, float]], state: str) -> None:
    fleets = [
        (f"q{number}", Fleet(0, [WorkerSight("w", silent_s, batches, batches * 3, doing)]))
        for number, (doing, batches, silent_s) in enumerate(sights)
    ]
    (row,) = worker_rows(fleets, 10.0)
    assert row.state == state
    assert row.queues == [f"q{number}" for number in range(len(sights))]
    assert row.jobs == 3 * row.batches


def test_a_worker_that_is_seen_between_two_batches_is_working() -> None:
    fleet = Fleet(NOW_MS, [WorkerSight("w", 0.1, 0, 0, "")])
    busy = just_settled([batch(5, ago_s=0.2), batch(5, ago_s=3)], NOW_MS)

    assert busy == {"w"}
    assert [row.state for row in worker_rows([("q", fleet)], 10.0, busy=busy)] == ["working"]
    assert just_settled([batch(5, ago_s=1.5)], NOW_MS) == set()
    idle = Fleet(NOW_MS, [WorkerSight("w", 0.1, 0, 0, "idle")])
    assert [row.state for row in worker_rows([("q", idle)], 10.0, busy=busy)] == ["idle"]
