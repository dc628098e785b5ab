"""`Admin.jobs` on a real server: lists of every kind, large and hostile queues; acts by name and filter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.conformance.bench import LONG_MS, Bench, job
from tests.conformance.engines import RealEngine

from microbatch.common.codec import encode_error
from microbatch.common.keys import KNOWN_QUEUES
from microbatch.console.admin import Admin
from microbatch.console.job_filter import STATES, JobFilter
from microbatch.console.job_place import PlaceElsewhere
from microbatch.console.job_walk import MOST_LOOKS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.servers import Servers

    from microbatch.console.job_row import JobRow
    from microbatch.console.jobs import JobAnswer, Jobs

ERROR = encode_error("ValueError", "no\x1b[2J", "Traceback ...")
LATER_MS = int(LONG_MS)


@pytest.fixture
async def bench(servers: Servers) -> AsyncIterator[Bench]:
    engine = RealEngine("valkey", servers)
    await engine.raw.sadd(KNOWN_QUEUES, "q")
    yield Bench(engine)
    await engine.close()


@pytest.fixture
async def jobs(bench: Bench, servers: Servers) -> AsyncIterator[Jobs]:
    async with Admin(servers._running["valkey"].url) as admin:
        assert bench.keys.queue == "q"
        yield admin.jobs("q")


async def listed(jobs: Jobs, *states: str, limit: int = 7, **more: Any) -> list[JobRow]:
    """The whole list, a few at a time."""
    wanted = JobFilter(set(states), **more) if states else JobFilter(**more)
    found: list[JobRow] = []
    after = None
    while True:
        page = await jobs.page(wanted, after=after, limit=limit)
        assert len(page.jobs) <= limit
        found += page.jobs
        after = page.after
        if after is None:
            return found


def names(rows: list[JobRow]) -> list[str]:
    return [(row.id or "?").removeprefix("q/") for row in rows]


async def answers(steps: AsyncIterator[list[JobAnswer]]) -> dict[str, str]:
    return {one.id.removeprefix("q/"): one.answer async for step in steps for one in step}


async def fail(bench: Bench, *locals_: str) -> None:
    await bench.submit(*locals_)
    await bench.settle("bf", await bench.take("bf", "wf", size=1_000), "wf", value=ERROR, succeeded=False)


# --- lists ------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 2, 3, 10, 1_000])
async def test_every_job_is_in_the_list_of_its_state_exactly_once(
    bench: Bench, jobs: Jobs, limit: int
) -> None:
    await fail(bench, "bad")
    await bench.submit("good", "gone", "late")
    await bench.settle("b0", await bench.take("b0", size=1))
    await bench.cancel("gone")
    await bench.pass_deadline("late")
    await bench.status("late")
    await bench.submit(job("s1", delay_ms=LATER_MS), job("s0", delay_ms=LATER_MS - 1_000))
    await bench.submit("r0", "r1")
    await bench.take("b1", size=2)
    await bench.submit(*(f"m{n}" for n in range(5)), job("k0", batch_key="k"), job("p0", priority=5))
    live = {
        "queued": ["m0", "m1", "m2", "m3", "m4", "k0", "p0"],
        "running": ["r0", "r1"],
        "scheduled": ["s0", "s1"],
    }
    for state, expected in live.items():
        rows = await listed(jobs, state, limit=limit)
        assert sorted(names(rows)) == sorted(expected)
        assert {row.state for row in rows} == {state}
    assert names(await listed(jobs, "scheduled", limit=limit)) == ["s0", "s1"]
    everything = sorted(name for group in live.values() for name in group)
    assert sorted(names(await listed(jobs, limit=limit))) == everything
    final = {"failed": "bad", "dead": "bad", "succeeded": "good", "cancelled": "gone", "expired": "late"}
    for state, name in final.items():
        assert names(await listed(jobs, state, limit=limit)) == [name]
    rows = await listed(jobs, *STATES, limit=limit)
    assert sorted(names(rows)) == sorted([*everything, *final.values()])


async def test_lines_say_what_operators_want_to_know(bench: Bench, jobs: Jobs) -> None:
    await bench.submit(job("a", priority=5, batch_key="k"))
    await bench.retry("b1", await bench.take("b1"), delay_ms=LATER_MS)
    (waiting,) = await listed(jobs, "scheduled")
    assert (waiting.attempt, waiting.priority, waiting.batch_key) == (1, 5, "k")
    assert waiting.due_at is not None
    assert waiting.enqueued_at is not None
    await bench.make_due("a")
    await bench.take("b2", "w2")
    (running,) = await listed(jobs, "running")
    assert (running.worker, running.batch_id, running.attempt, running.lane) == ("w2", "b2", 2, "5/k")
    assert running.started_at is not None
    assert running.enqueued_at == waiting.enqueued_at


async def test_thousands_of_lanes_are_listed_in_bounded_pages(bench: Bench, jobs: Jobs) -> None:
    expected = [f"j{n:04}" for n in range(3_000)]
    for start in range(0, len(expected), 250):
        await bench.submit(*(job(name, batch_key=f"key-{name}") for name in expected[start : start + 250]))
    assert sorted(names(await listed(jobs, "queued", limit=250))) == expected
    found = await listed(jobs, batch_key="key-j0777")
    assert (names(found), found[0].lane) == (["j0777"], "0/key-j0777")


async def test_lanes_that_go_between_pages_take_nobody_else_along(bench: Bench, jobs: Jobs) -> None:
    stays = [f"s{n:03}" for n in range(400)]
    await bench.submit(*(job(name, batch_key=name) for name in stays))
    await bench.submit(*(job(f"g{n}", batch_key=f"g{n}") for n in range(400)))
    seen: list[str] = []
    after, gone = None, 0
    while True:
        page = await jobs.page(after=after, limit=9)
        seen += names(page.jobs)
        after = page.after
        if after is None:
            break
        for _ in range(12):
            await bench.cancel(f"g{gone}")
            gone += 1
    assert set(stays) <= set(seen)


async def test_a_filter_that_fits_nobody_ends_pages_early_and_says_where_to_go_on(
    bench: Bench, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("microbatch.console.job_walk.LOOK", 3)
    await bench.submit(*(f"j{n:03}" for n in range(250)))
    page = await jobs.page(JobFilter({"queued"}, kind="none"))
    assert page.jobs == []
    assert page.after is not None
    assert page.after.startswith("lanes,main:")
    rest = await jobs.page(JobFilter({"queued"}), after=page.after, limit=1)
    assert names(rest.jobs) == [f"j{3 * MOST_LOOKS:03}"]


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ({"batch_key": "k"}, ["key", "both"]),
        ({"priority": 5}, ["rank", "both"]),
        ({"priority": 0}, ["plain", "key", "later", "run"]),
        ({"batch_key": "k", "priority": 5}, ["both"]),
        ({"worker": "w1"}, ["run"]),
        ({"worker": "w2"}, []),
        ({"older_than_s": 3_600}, []),
        ({"younger_than_s": 3_600}, ["plain", "key", "rank", "both", "later", "run"]),
        ({"error": "ValueError"}, []),
    ],
)
async def test_conditions_choose_among_live_jobs(
    bench: Bench, jobs: Jobs, condition: dict[str, Any], expected: list[str]
) -> None:
    await bench.submit("run")
    await bench.take("b1")
    await bench.submit("plain", job("key", batch_key="k"), job("rank", priority=5))
    await bench.submit(job("both", priority=5, batch_key="k"), job("later", delay_ms=LATER_MS))
    assert sorted(names(await listed(jobs, limit=2, **condition))) == sorted(expected)


async def test_letters_and_records_are_chosen_by_error_worker_and_age(bench: Bench, jobs: Jobs) -> None:
    await fail(bench, "a", "b")
    for state in ("dead", "failed"):
        assert sorted(names(await listed(jobs, state, error="ValueError"))) == ["a", "b"]
        assert await listed(jobs, state, error="TypeError") == []
        assert sorted(names(await listed(jobs, state, worker="wf", limit=1))) == ["a", "b"]
        assert await listed(jobs, state, worker="other") == []
        assert await listed(jobs, state, older_than_s=3_600) == []
    assert names(await listed(jobs, "dead", limit=1)) == ["b", "a"]


async def test_a_place_in_another_list_is_refused(bench: Bench, jobs: Jobs) -> None:
    await bench.submit("a", "b")
    page = await jobs.page(JobFilter({"queued"}), limit=1)
    with pytest.raises(PlaceElsewhere):
        await jobs.page(JobFilter({"dead"}), after=page.after)
    with pytest.raises(ValueError, match="is no place"):
        await jobs.page(after="nonsense")


# --- hostile queues -----------------------------------------------------------------------------


async def put_garbage(bench: Bench) -> None:
    raw, keys = bench.raw, bench.keys
    await bench.submit("ok", job("later", delay_ms=LATER_MS))
    await raw.xadd(keys.lane("main"), {b"\x1b[2J": b"\xff", b"id": b"\xff\x1b", b"headers": b"\xc1"})
    await raw.xadd(
        keys.lane("main"), {"id": "nobody", "payload": b"\xc1", "enqueued_ms": "soon", "attempt": "x"}
    )
    await raw.zadd(keys.scheduled, {b"\xff\n\x1b": 1, "ghost": float("inf"), "half": 1.5})
    await raw.xadd(keys.dead, {b"\xff": b"\x00", "id": b"\xff"})
    await raw.zadd(keys.lanes, {b"no lane\n": 1, "5/none": 2})
    await raw.set(keys.job("text"), "foreign")
    await raw.hset(keys.job("odd"), mapping={"state": b"\xff", "finished_ms": "x"})
    await raw.hset(keys.job(b"n\n\x1b".decode()), mapping={"state": "failed", "error": b"\xc1", "batch": "b"})


@pytest.mark.parametrize("limit", [1, 3, 100])
async def test_garbage_is_listed_with_its_fault_and_hides_nobody(
    bench: Bench, jobs: Jobs, limit: int
) -> None:
    await put_garbage(bench)
    rows = await listed(jobs, *STATES, limit=limit)
    assert [name for name in names(rows) if name in {"ok", "later"}] == ["ok", "later"]
    faulty = {name for name, row in zip(names(rows), rows, strict=True) if row.fault}
    assert faulty == {"?", "nobody", "ghost", "half"}
    assert not [row for row in rows if row.id in {"q/text", "q/odd"}]


@pytest.mark.parametrize(
    "name", ["lanes", "ranks", "scheduled", "dead", "lane:main", "batches:w1", "tombstones"]
)
async def test_a_key_that_holds_something_else_hides_what_it_held_and_no_more(
    bench: Bench, jobs: Jobs, name: str
) -> None:
    await bench.submit("a")
    await bench.take("b1")
    await bench.release("b1")
    await bench.raw.delete(bench.keys.prefix + name)
    await bench.raw.set(bench.keys.prefix + name, "foreign")
    assert names(await listed(jobs, *STATES)) == ["a"]
    assert names(await listed(jobs, batch_key="k")) == []


# --- acts -------------------------------------------------------------------------------------


async def test_jobs_are_cancelled_by_name_in_every_state(bench: Bench, jobs: Jobs) -> None:
    await bench.submit("done")
    await bench.settle("b0", await bench.take("b0"))
    await bench.submit("run")
    await bench.take("b1")
    await bench.submit("wait", job("later", delay_ms=LATER_MS), job("key", batch_key="k"))
    await bench.raw.set(bench.keys.job("foreign"), "foreign")
    said = await answers(jobs.cancel(["run", "q/wait", "later", "key", "done", "none", "foreign"]))
    assert said == {
        **dict.fromkeys(("run", "wait", "later", "key"), "cancelled"),
        "done": "succeeded",
        "none": "unknown",
        "foreign": "foreign",
    }
    assert await listed(jobs) == []
    assert (await bench.queue()).running == 0
    with pytest.raises(ValueError, match="is no job of q"):
        await answers(jobs.cancel(["other/a"]))


async def test_a_filter_cancels_what_its_list_shows(bench: Bench, jobs: Jobs) -> None:
    await bench.submit(*(job(f"k{n}", batch_key="k") for n in range(300)), *(f"m{n}" for n in range(10)))
    await put_garbage(bench)
    said = await answers(jobs.cancel_all(JobFilter(batch_key="k")))
    assert said == {f"k{n}": "cancelled" for n in range(300)}
    assert await listed(jobs, batch_key="k") == []
    assert len([row for row in await listed(jobs, "queued") if not row.fault]) == 11
    with pytest.raises(ValueError, match="not for jobs that are dead"):
        await answers(jobs.cancel_all(JobFilter({"dead", "queued"})))


async def test_failed_jobs_run_again_and_scheduled_ones_now(bench: Bench, jobs: Jobs) -> None:
    await fail(bench, "bad", "trimmed", "forgotten")
    (letter,) = [one for one in await bench.letters() if one.fields[b"id"] == b"trimmed"]
    await bench.purge(letter.letter_id)
    await bench.raw.delete(bench.keys.job("forgotten"))
    await bench.submit("done")
    await bench.settle("b0", await bench.take("b0"))
    await bench.submit("wait", job("later", delay_ms=LATER_MS))
    said = await answers(jobs.retry(["bad", "later", "done", "wait", "trimmed", "forgotten", "none"]))
    assert said == {
        "bad": "redriven",
        "forgotten": "redriven",
        "later": "due",
        "done": "succeeded",
        "wait": "queued",
        "trimmed": "gone",
        "none": "unknown",
    }
    entries = await bench.take("b1")
    assert sorted(entry.local for entry in entries) == ["bad", "forgotten", "later", "wait"]
    assert (await bench.record("bad"))["run"] == b"2"


async def test_a_filter_retries_dead_and_scheduled_jobs_once_each(bench: Bench, jobs: Jobs) -> None:
    await fail(bench, *(f"d{n}" for n in range(300)))
    await bench.submit(
        *(job(f"s{n}", delay_ms=LATER_MS) for n in range(300)), job("overdue", delay_ms=LATER_MS)
    )
    await bench.make_due("overdue")
    await put_garbage(bench)
    said = await answers(jobs.retry_all(JobFilter({"dead", "scheduled"})))
    assert {one: said[one] for one in ("d0", "d299", "s0", "s299", "later")} == {
        **dict.fromkeys(("d0", "d299"), "redriven"),
        **dict.fromkeys(("s0", "s299", "later"), "due"),
    }
    assert "overdue" not in said
    assert list(said.values()).count("redriven") == 300
    assert list(said.values()).count("due") == 301
    assert (await bench.queue()).scheduled <= 1  # the ghost
    with pytest.raises(ValueError, match="not for jobs that are queued"):
        await answers(jobs.retry_all(JobFilter({"queued"})))


# --- show -------------------------------------------------------------------------------------


async def test_a_sheet_has_all_that_is_known_wherever_the_job_is(bench: Bench, jobs: Jobs) -> None:
    assert await jobs.show("none") is None
    await bench.submit(job("a", {"n": 1}, priority=5, delay_ms=LATER_MS))
    sheet = await jobs.show("q/a")
    assert sheet is not None
    assert sheet.entry is not None
    assert (sheet.entry.priority, sheet.payload, sheet.payload_fault) == (5, None, "")
    sheet = await jobs.show("a", with_payload=True)
    assert sheet is not None
    assert sheet.payload == {"n": 1}
    await bench.make_due("a")
    await bench.settle("b1", await bench.take("b1"), value=ERROR, succeeded=False)
    sheet = await jobs.show("a", with_payload=True)
    assert sheet is not None
    assert sheet.letter is not None
    assert (sheet.payload, sheet.entry) == ({"n": 1}, None)
    await bench.raw.delete(bench.keys.job("a"))
    sheet = await jobs.show("a", with_payload=True)
    assert sheet is not None
    assert (sheet.status, sheet.payload) == (None, {"n": 1})


async def test_the_payload_of_a_job_that_succeeded_is_not_kept(bench: Bench, jobs: Jobs) -> None:
    await bench.submit("a")
    await bench.settle("b1", await bench.take("b1"))
    sheet = await jobs.show("a", with_payload=True)
    assert sheet is not None
    assert sheet.payload_fault == "a finished job's payload is not kept"
