"""The tally, with a clock of the test's own."""

from __future__ import annotations

import pytest

from microbatch.common.jobs.entry import Entry
from microbatch.common.scripts import Claimed, Outcome, SettleCode
from microbatch.common.settings import WorkerSettings, queue_settings
from microbatch.worker.batch import Batch, Job
from microbatch.worker.observer import Observer, Observers
from microbatch.worker.tally import QueueTally, Tally


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tally(clock: Clock) -> Tally:
    settings = WorkerSettings(max_batch_size=4, max_wait_ms=50, concurrency=2)
    return Tally([queue_settings("q", settings=settings)], clock_s=clock)


def entries(*written_ms: int) -> list[Entry]:
    return [Entry(f"main:{at_ms}-0", f"j{at_ms}", "c", b"", at_ms) for at_ms in written_ms]


def begin(
    tally: Tally, batch_id: str, jobs: list[Entry], *, at_ms: int = 1000, reason: str = "wait", most: int = 4
) -> QueueTally:
    tally.claimed("q", batch_id, Claimed(reason, at_ms, jobs, most), jobs)
    return tally.queues["q"]


def ended(jobs: list[Entry], *states: str) -> list[Outcome]:
    return [Outcome(job, state, b"") for job, state in zip(jobs, states, strict=True)]  # type: ignore[arg-type] # a literal


def test_a_batch_from_its_claim_to_its_end(tally: Tally, clock: Clock) -> None:
    jobs = entries(900, 990)
    mine = begin(tally, "b", jobs)
    assert (len(mine.open), mine.open["b"].size) == (1, 2)
    batch = Batch("b", "q", "wait", [Job("q", job, None, {}) for job in jobs])
    with tally.processing(batch):
        clock.now_s += 0.2
    clock.now_s += 0.02
    tally.settled("q", "b", ended(jobs, "succeeded", "failed"), None)
    tally.ended("q", "b", "settled")

    assert mine.jobs == {"succeeded": 1, "failed": 1, "expired": 0, "quarantined": 0}
    assert mine.batches == {("wait", "partial"): 1}
    assert (mine.open, mine.dead_letters, mine.capacity) == ({}, 1, 4)
    assert mine.size.total == 2
    assert mine.fill.total == 0.5
    assert mine.queue_wait.total == pytest.approx(0.11)
    assert mine.batching_wait.total == pytest.approx(0.05)  # the oldest waited 100 ms, 50 of them for company
    assert mine.run.total == pytest.approx(0.2)
    assert mine.settle.total == pytest.approx(0.02)
    assert mine.latency.total == pytest.approx(0.1 + 0.01 + 2 * 0.22)


def test_a_full_batch_waited_for_company_until_its_last_job_came(tally: Tally) -> None:
    mine = begin(tally, "b", entries(900, 910, 920, 930), reason="size")
    assert mine.batching_wait.total == pytest.approx(0.03)


def test_recovered_jobs_waited_for_no_company(tally: Tally) -> None:
    assert sum(begin(tally, "b", entries(900), reason="recovery").batching_wait.counts) == 0


def test_an_entry_that_is_ahead_of_the_clock_has_not_waited(tally: Tally) -> None:
    assert begin(tally, "b", entries(900, 5000)).queue_wait.total == pytest.approx(0.1)


def test_a_retry_is_no_end_of_a_job(tally: Tally) -> None:
    jobs = entries(900)
    mine = begin(tally, "b", jobs)
    tally.settled("q", "b", ended(jobs, "retry"), None)
    tally.ended("q", "b", "settled")
    assert mine.retries == 1
    assert sum(mine.jobs.values()) == 0
    assert sum(mine.latency.counts) == 0
    assert mine.batches == {("wait", "failed"): 1}


def test_a_late_result_counts_as_late_and_as_nothing_else(tally: Tally) -> None:
    jobs = entries(900, 900)
    mine = begin(tally, "b", jobs)
    tally.settled("q", "b", ended(jobs, "succeeded", "failed"), [SettleCode.WRITTEN, SettleCode.MOVED])
    assert (mine.late, mine.dead_letters) == (1, 0)
    assert mine.jobs["succeeded"] == 1
    assert sum(mine.latency.counts) == 1


def test_a_batch_that_was_lost_is_counted_once(tally: Tally) -> None:
    mine = begin(tally, "b", entries(900))
    tally.ended("q", "b", "lost")
    tally.ended("q", "b", "settled")
    assert mine.batches == {("wait", "lost"): 1}


@pytest.mark.parametrize(("most", "fill"), [(4, 0.5), (2, 1.0), (1, 1.0)])
def test_a_batch_is_full_where_it_has_what_its_claim_asked_for(tally: Tally, most: int, fill: float) -> None:
    """Adaptive batching and an operator may ask for less than `max_batch_size`."""
    mine = begin(tally, "b", entries(900, 990), most=most)
    assert mine.fill.total == fill
    assert mine.capacity == 2 / fill


def test_a_batch_of_nothing_but_expired_jobs_is_empty(tally: Tally) -> None:
    mine = begin(tally, "b", [])
    tally.settled("q", "b", ended(entries(900), "expired"), None)
    tally.ended("q", "b", "settled")
    assert mine.batches == {("wait", "empty"): 1}
    assert mine.jobs["expired"] == 1
    assert sum(mine.size.counts) == 0


def test_every_observer_of_many_hears_everything(tally: Tally) -> None:
    other = Tally([queue_settings("q", settings=WorkerSettings())])
    both, jobs = Observers([tally, Observer(), other]), entries(900)
    both.claimed("q", "b", Claimed("wait", 1000, jobs, 4), jobs)
    with both.processing(Batch("b", "q", "wait", [])):
        pass
    both.settled("q", "b", ended(jobs, "succeeded"), None)
    both.ended("q", "b", "settled")
    both.quarantined("q")
    both.handed_back("q", 2)
    both.reclaimed("q", 3, 1)
    both.redis_failed("q", "claim")
    both.loop_stalled()
    for each in (tally, other):
        mine = each.queues["q"]
        assert mine.batches == {("wait", "succeeded"): 1}
        assert sum(mine.run.counts) == 1
        assert (mine.handed_back, mine.reclaimed, each.loop_stalls) == (2, 4, 1)
        assert mine.redis_errors == {"claim": 1}
        assert mine.jobs["quarantined"] == mine.dead_letters == 1
