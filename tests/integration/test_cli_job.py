"""`microbatch job` on a real server, with a real worker: what it does, prints and exits with."""

from __future__ import annotations

import io
import json
import threading
from typing import TYPE_CHECKING, Any

import pytest
import redis
from tests.integration.command import LIMIT_S, serving, until

from microbatch.common.keys import QueueKeys
from microbatch.producer import Client, JobCancelled, JobState
from microbatch.worker import Batch, batch_processor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Run = Callable[..., tuple[int, str, str]]

KEYS = QueueKeys("work")


@pytest.fixture
def run(redis_url: str, run_main: Callable[..., Run]) -> Run:
    """Runs `microbatch job` in this process: its code, stdout and stderr."""
    return run_main(redis_url, "job")


@pytest.fixture
def client(redis_url: str) -> Iterator[Client]:
    with Client(redis_url) as client:
        client.submit("work", 0, job_id="first").cancel()  # the queue is known
        yield client


@pytest.fixture
def go(redis_url: str) -> Iterator[threading.Event]:
    """There is a worker, and no call of its processor ends before this is set."""
    go = threading.Event()

    @batch_processor(queue="work", max_batch_size=4, max_wait_ms=0, on_batch_error="fail")
    def work(batch: Batch[Any]) -> list[Any]:
        for job in batch:
            job.log.info("seen \x1b[2J")
            job.progress(0.5, "half")
        go.wait(LIMIT_S)
        return [ValueError("bad\x1b[2J") if job.payload == "bad" else job.payload for job in batch]

    with serving(redis_url, work):
        yield go
        go.set()


def rows(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


# --- list -----------------------------------------------------------------------------------


def test_who_runs_where_since_when_and_who_waits_is_listed(
    run: Run, client: Client, go: threading.Event
) -> None:
    held = client.submit_many("work", range(2))  # in one call, so in one batch
    until(lambda: [job.status().state for job in held] == [JobState.RUNNING] * 2)
    client.submit("work", 1, job_id="w", priority=5)
    client.submit("work", 1, job_id="later", delay_s=500)
    code, out, err = run("list", "work")
    assert (code, err) == (0, "")
    titles, *lines = out.splitlines()
    assert titles.split() == ["JOB", "STATE", "ENQUEUED", "ATTEMPT", "PRIORITY", "KEY", "WHERE"]
    assert [line.split()[:2] for line in lines] == [
        *([job.id, "running"] for job in held),
        ["work/w", "queued"],
        ["work/later", "scheduled"],
    ]
    worker_id = held[0].status().worker
    assert worker_id is not None
    assert f"{worker_id}, batch " in lines[0]
    code, out, err = run("list", "work", "--state", "running", "--worker", worker_id, "--json")
    assert (code, err) == (0, "")
    told = rows(out)
    assert [row["id"] for row in told] == [job.id for job in held]
    assert {row["worker"] for row in told} == {worker_id}
    assert all(row["started_at"] and row["batch_id"] and row["attempt"] == 1 for row in told)
    assert not [name for name in told[0] if "payload" in name and name != "payload_bytes"]
    go.set()
    assert [job.result(timeout_s=LIMIT_S) for job in held] == [0, 1]


def test_a_page_says_where_the_next_one_begins(run: Run, client: Client) -> None:
    client.submit_many("work", range(10))
    code, out, err = run("list", "work", "--limit", "4", "--json")
    seen = [row["id"] for row in rows(out)]
    assert code == 0
    while err:
        assert err.startswith("microbatch job list: there may be more: --after ")
        code, out, err = run("list", "work", "--limit", "4", "--json", "--after", err.split()[-1])
        assert code == 0
        seen += [row["id"] for row in rows(out)]
    assert len(seen) == len(set(seen)) == 10
    code, out, err = run("list", "work", "--all", "--json")
    assert (code, [row["id"] for row in rows(out)], err) == (0, seen, "")


def test_an_empty_list_says_so(run: Run, client: Client) -> None:
    assert client.queues() == ["work"]
    assert run("list", "work") == (0, "no such jobs in work\n", "")
    assert run("list", "work", "--state", "waiting", "--json") == (0, "", "")
    code, out, _ = run("list", "work", "--state", "cancelled", "--younger-than", "1h")
    assert code == 0
    assert "work/first" in out


# --- show -----------------------------------------------------------------------------------


def test_everything_about_a_job_is_shown_and_its_payload_only_on_demand(
    run: Run, client: Client, go: threading.Event
) -> None:
    job = client.submit("work", "bad", job_id="a", batch_key="tenant", headers={"secret": "x"})
    until(lambda: job.status().progress is not None and job.status().log_lines > 0)
    code, out, err = run("show", "work", "a")
    assert (code, err) == (0, "")
    for words in (
        "state      running",
        "key        tenant",
        "progress   50% half",
        "INFO seen \\x1b[2J",
        "claimed",
    ):
        assert words in out
    assert "\x1b" not in out
    assert '"bad"' not in out
    assert 'payload    "bad"' in run("show", "work/a", "--payload")[1]
    go.set()
    until(lambda: job.status().state is JobState.FAILED)
    code, out, _ = run("show", "work", "work/a", "--payload")
    assert code == 0
    for words in ("state      failed", "ValueError: bad\\x1b[2J", "letter ", 'payload    "bad"'):
        assert words in out
    assert run("retry", "work", "a")[0] == 0
    until(lambda: job.status().run == 2 and job.status().state is JobState.FAILED)
    code, out, _ = run("show", "work", "a", "--json")
    assert code == 0
    told = json.loads(out)
    assert [past["state"] for past in told["history"]] == ["failed"]
    assert (told["state"], told["run"], told["letter"]["run"]) == ("failed", 2, 2)
    assert '"bad"' not in out
    assert json.loads(run("show", "work", "a", "--json", "--payload")[1])["payload"] == "bad"


def test_a_job_that_nobody_knows_is_exit_3(run: Run, client: Client) -> None:
    assert client.queues() == ["work"]
    code, out, err = run("show", "work", "none")
    assert (code, out) == (3, "")
    assert err.startswith("microbatch job: no job 'none' in work")
    code, out, err = run("list", "wrok")
    assert (code, out, err) == (3, "", "microbatch job: no queue 'wrok'; did you mean work?\n")


def test_a_record_of_the_wrong_type_is_told_and_exit_1(run: Run, client: Client, redis_url: str) -> None:
    client.submit("work", 1, job_id="a")
    with redis.Redis.from_url(redis_url) as server:
        server.set(KEYS.job("a"), "foreign")
    code, out, err = run("show", "work", "a")
    assert (code, out) == (1, "")
    assert "something else" in err
    code, out, _ = run("list", "work", "--json")
    assert (code, rows(out)[0]["fault"]) == (0, "its key holds something else than a job's record")
    assert run("cancel", "work", "a")[0] == 1


# --- cancel and retry -------------------------------------------------------------------------


def test_what_a_filter_finds_and_cannot_cancel_is_told_and_holds_no_other_up(
    run: Run, client: Client, redis_url: str
) -> None:
    jobs = client.submit_many("work", range(70))
    client.submit("work", 1, job_id="aside", batch_key="k")
    with redis.Redis.from_url(redis_url) as server:
        server.set(jobs[3].result_key, "foreign")
        server.set(KEYS.held, "foreign")
        server.xadd(KEYS.lane("main"), {"what": "no job"})
    code, out, err = run("cancel", "work", "--state", "queued", "--yes")
    assert (code, out) == (1, "69 jobs cancelled\n"), err
    assert set(err.splitlines()) == {
        f"microbatch job: {jobs[3].id}: what is stored there is no job; `job list` says why",
        "microbatch job: ?: what is stored there is no job; `job list` says why",
        "microbatch job: work/aside: its key, or one that its lane is listed in, holds something else",
    }


def test_named_jobs_are_cancelled_also_while_they_run(run: Run, client: Client, go: threading.Event) -> None:
    job = client.submit("work", 1, job_id="a")
    until(lambda: job.status().state is JobState.RUNNING)
    assert run("cancel", "work", "a") == (0, "1 job cancelled\n", "")
    with pytest.raises(JobCancelled):
        job.result(timeout_s=LIMIT_S)
    go.set()
    assert client.call("work", 2, timeout_s=LIMIT_S) == 2


def test_what_cannot_be_cancelled_is_told_and_decides_the_exit_code(run: Run, client: Client) -> None:
    client.submit("work", 1, job_id="a")
    code, out, err = run("cancel", "work", "a", "none")
    assert (code, out, err) == (3, "1 job cancelled\n", "microbatch job: work/none: no such job\n")
    assert run("cancel", "work", "a")[0] == 0  # once more is the same
    code, out, _ = run("cancel", "work", "none", "--json")
    assert code == 3
    assert json.loads(out) == {
        "done": 0,
        "counts": {"cancelled": 0, "unknown": 1},
        "refused": [{"id": "work/none", "reason": "unknown"}],
    }


def test_a_filter_does_nothing_without_yes(run: Run, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    client.submit_many("work", range(300), batch_key="k")
    client.submit("work", 1, job_id="other")
    code, out, err = run("cancel", "work", "--batch-key", "k")
    assert (code, out, err) == (2, "", "microbatch job: --yes is needed to cancel jobs that are not named\n")

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for answer, code, told in (("n", 1, ""), ("y", 0, "300 jobs cancelled\n")):
        with monkeypatch.context() as patch:
            patch.setattr("sys.stdin", Terminal(f"{answer}\n"))
            patch.setattr("sys.stderr", Terminal())
            assert run("cancel", "work", "--batch-key", "k")[:2] == (code, told)
    assert [row["id"] for row in rows(run("list", "work", "--json")[1])] == ["work/other"]
    assert run("cancel", "work", "--older-than", "0", "--yes") == (0, "1 job cancelled\n", "")


def test_failed_and_scheduled_jobs_are_retried_and_others_say_why_not(
    run: Run, client: Client, go: threading.Event
) -> None:
    go.set()
    bad = client.submit("work", "bad", job_id="bad")
    good = client.submit("work", 5, job_id="good")
    later = client.submit("work", 7, job_id="later", delay_s=500)
    until(lambda: bad.status().state.is_final and good.status().state.is_final)
    code, out, err = run("retry", "work", "bad", "good", "later", "first")
    assert (code, out) == (1, "2 jobs will run: 1 again, 1 ahead of time\n")
    good_told, first_told = err.splitlines()
    assert good_told.startswith("microbatch job: work/good: it has its result already; to run it once more, ")
    assert first_told.startswith(
        "microbatch job: work/first: it was cancelled, and its payload is not kept; "
    )
    assert later.result(timeout_s=LIMIT_S) == 7
    until(lambda: bad.status().run == 2 and bad.status().state is JobState.FAILED)
    code, out, err = run("retry", "work", "--state", "dead", "--error", "ValueError", "--yes")
    assert (code, out, err) == (0, "1 job will run: 1 again, 0 ahead of time\n", "")
    until(lambda: bad.status().run == 3)


@pytest.mark.parametrize(
    "words",
    [
        ("list",),
        ("list", "work", "a"),
        ("list", "work", "--state", "sucess"),
        ("list", "work", "--state", "succeeded", "--batch-key", "k"),
        ("list", "work", "--older-than", "soon"),
        ("list", "work", "--limit", "0"),
        ("list", "work", "--after", "nonsense"),
        ("list", "work", "--all", "--after", "lanes"),
        ("list", "work", "--after", "dead"),
        ("list", "work", "--payload"),
        ("show", "work"),
        ("show", "work", "a", "b"),
        ("show", "work", "a", "--state", "dead"),
        ("show", "other/a", "--payload", "work/a"),
        ("show", "wo rk", "a"),
        ("cancel", "work"),
        ("cancel", "work", "a", "--state", "queued"),
        ("cancel", "work", "--state", "succeeded", "--yes"),
        ("cancel", "work", "--state", "dead", "--yes"),
        ("cancel", "work", "other/a"),
        ("cancel", "work", "a b"),
        ("cancel", "work", "a", "--after", "lanes"),
        ("retry", "work", "--state", "queued", "--yes"),
        ("retry", "work", "a", "--all"),
    ],
)
def test_wrong_words_are_exit_2_and_one_line(run: Run, client: Client, words: tuple[str, ...]) -> None:
    assert client.queues() == ["work"]
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert err.startswith("microbatch job: ")
    assert err.count("\n") == 1
