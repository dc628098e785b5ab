"""await_results, job_status and queue_status: what is known, who is told later, and lost jobs found."""

from __future__ import annotations

import pytest
from tests.conformance.bench import LONG_MS, OK, Bench

from microbatch.common.codec import decode, encode
from microbatch.common.errors import ProtocolError
from microbatch.common.scripts import RecordView, await_results


async def _await(
    bench: Bench, *locals_: str, client: str = "c2", register: bool = False, check: bool = False
) -> list[RecordView]:
    return await bench.run(await_results(bench.keys, client, locals_, register=register, check=check))


async def _lose(bench: Bench, local: str) -> None:
    """An operator (or a server that lost data) deletes the job's entry."""
    lane, _, entry_id = (await bench.record(local))["entry"].decode().partition(":")
    await bench.raw.xdel(bench.keys.lane(lane), entry_id)


async def test_outcomes_come_in_the_order_of_the_question(bench: Bench) -> None:
    await bench.submit("open", "done", "bad")
    by_name = {entry.local: entry for entry in await bench.take("b1")}
    await bench.settle("b1", [by_name["done"]], close=False)
    await bench.settle("b1", [by_name["bad"]], succeeded=False, value=encode("e"), close=False)
    await bench.raw.set(bench.keys.job("foreign"), "x")
    assert await _await(bench, "bad", "none", "open", "foreign", "done") == [
        RecordView("failed", encode("e")),
        RecordView("unknown", None),
        RecordView("queued", None),
        RecordView("foreign", None),
        RecordView("succeeded", OK),
    ]


async def test_asking_without_registering_leaves_nothing_behind(bench: Bench) -> None:
    await bench.submit("a")
    await _await(bench, "a", "none", check=True)
    assert await bench.raw.exists(bench.keys.watchers) == 0


async def test_only_open_jobs_are_registered_and_each_client_once(bench: Bench) -> None:
    await bench.submit("open", "done")
    entries = await bench.take("b1")
    await bench.settle("b1", entries[1:], close=False)
    for client in ("c2", "c3", "c2"):
        await _await(bench, "open", "done", "none", client=client, register=True)
    assert await bench.raw.hgetall(bench.keys.watchers) == {b"open": b"c2 c3"}


async def test_registrations_have_a_time_to_live_and_a_bound(bench: Bench) -> None:
    await bench.submit("a")
    for n in range(300):
        await _await(bench, "a", client=f"{n:032}", register=True)
    clients = (await bench.raw.hget(bench.keys.watchers, "a")).split(b" ")
    assert len(clients) < 140
    assert clients[-1] == f"{299:032}".encode()
    assert 0 < await bench.raw.pttl(bench.keys.watchers) <= 3_600_000


async def test_many_results_are_read_in_one_call(real_bench: Bench) -> None:
    names = [f"j{n}" for n in range(3_000)]
    await real_bench.submit(*names)
    assert {view.state for view in await _await(real_bench, *names, register=True, check=True)} == {"queued"}


async def test_a_job_whose_entry_is_gone_is_failed_by_whoever_checks(bench: Bench) -> None:
    await bench.submit("a", "b")
    await _lose(bench, "a")
    assert (await _await(bench, "a"))[0].state == "queued"
    async with bench.listening(bench.keys.reply_channel("c3")) as other:
        await _await(bench, "a", client="c3", register=True)
        lost, open_ = await _await(bench, "a", "b", check=True)
        ((local, state, error),) = await other.fragments()
    assert (local, state, error["type"]) == ("a", "failed", "JobLost")
    assert lost.state == "failed"
    assert lost.value is not None
    assert decode(lost.value)["type"] == "JobLost"
    assert open_.state == "queued"
    assert await bench.raw.pttl(bench.keys.job("a")) > 0


async def test_a_running_or_moved_job_is_not_lost(bench: Bench) -> None:
    await bench.submit("a", "b")
    await bench.take("b1", size=1)
    await bench.release("b1")
    await bench.take("b2", "w2", size=2)
    assert [view.state for view in await _await(bench, "a", "b", check=True)] == ["queued", "queued"]


async def test_a_lost_job_stays_lost_for_the_worker_that_had_it(bench: Bench) -> None:
    await bench.submit("a")
    entries = await bench.take("b1")
    await _lose(bench, "a")
    await _await(bench, "a", check=True)
    assert [code.name for code in await bench.settle("b1", entries) or []] == ["FINAL"]
    assert await bench.pending() == {}


async def test_the_status_of_an_unknown_job_is_none(bench: Bench) -> None:
    assert await bench.status("none") is None


async def test_the_status_of_a_foreign_key_is_an_error(bench: Bench) -> None:
    await bench.raw.set(bench.keys.job("a"), "x")
    with pytest.raises(ProtocolError):
        await bench.status("a")


async def test_a_waiting_job_has_no_worker(bench: Bench) -> None:
    await bench.submit("a")
    view = await bench.status("a")
    assert view is not None
    assert (view.worker, view.batch, view.batch_size, view.attempt) == ("", "", 0, 0)
    assert view.record[b"state"] == b"queued"


async def test_a_running_job_names_its_worker_and_batch(bench: Bench) -> None:
    await bench.submit("x", "a", "b")
    await bench.take("b0", size=1)
    await bench.take("b1")
    view = await bench.status("a")
    assert view is not None
    assert (view.worker, view.batch, view.batch_size, view.attempt) == ("w1", "b1", 2, 1)
    assert abs(view.claimed_ms - await bench.now_ms()) < 10_000


async def test_a_handed_back_job_waits_again_and_remembers_its_run(bench: Bench) -> None:
    await bench.submit("a")
    await bench.take("b1")
    await bench.release("b1", ran=True)
    view = await bench.status("a")
    assert view is not None
    assert (view.worker, view.attempt) == ("", 1)


async def test_a_final_job_has_its_record(bench: Bench) -> None:
    await bench.submit("a")
    await bench.settle("b1", await bench.take("b1"))
    view = await bench.status("a")
    assert view is not None
    assert (view.record[b"state"], view.record[b"result"], view.attempt) == (b"succeeded", OK, 1)


async def test_asking_for_the_status_of_a_lost_job_fails_it(bench: Bench) -> None:
    await bench.submit("a")
    await _lose(bench, "a")
    view = await bench.status("a")
    assert view is not None
    assert view.record[b"state"] == b"failed"
    assert decode(view.record[b"error"])["type"] == "JobLost"
    assert (await bench.record("a"))["state"] == b"failed"


async def test_an_empty_queue_reports_nothing(bench: Bench) -> None:
    status = await bench.queue()
    assert (status.waiting, status.running, status.dead, status.workers) == (0, 0, 0, 0)
    assert status.oldest_age_s is status.max_batch_size is status.max_wait_ms is None


async def test_waiting_and_running_are_counted_over_all_lanes(bench: Bench) -> None:
    await bench.submit(*(f"j{n}" for n in range(6)))
    await bench.take("b1", size=2)
    await bench.release("b1")
    await bench.take("b2", "dead", size=1)
    await bench.die("dead")
    await bench.takeover("dead")
    status = await bench.queue()
    assert (status.waiting, status.running) == (6, 0)
    await bench.take("b3", size=1)  # the suspect
    await bench.take("b4", size=1)  # from the front
    status = await bench.queue()
    assert (status.waiting, status.running) == (4, 2)


async def test_the_age_of_the_oldest_waiting_job_is_told_and_running_ones_do_not_count(bench: Bench) -> None:
    await bench.put_old("a", age_ms=90_000)
    await bench.put_old("b", age_ms=60_000)
    await bench.take("b1", size=1)
    age_s = (await bench.queue()).oldest_age_s
    assert age_s is not None
    assert 60 <= age_s < 75


async def test_a_handed_back_jobs_age_counts_from_its_first_submit(bench: Bench) -> None:
    await bench.put_old("a", age_ms=90_000)
    await bench.take("b1")
    await bench.release("b1")
    age_s = (await bench.queue()).oldest_age_s
    assert age_s is not None
    assert age_s >= 90


async def test_looks_change_nothing(bench: Bench) -> None:
    await bench.submit("a", "b")
    await bench.take("b1", size=1)
    await bench.claim("b2", "w2", size=5, wait_ms=LONG_MS)
    before = [await bench.raw.exists(key) for key in await bench.raw.keys("*")]
    record = await bench.record("a")
    await bench.queue()
    await bench.status("a")
    await bench.status("b")
    assert [await bench.raw.exists(key) for key in await bench.raw.keys("*")] == before
    assert await bench.record("a") == record
