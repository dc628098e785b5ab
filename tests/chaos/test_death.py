"""Worker processes that die or freeze while they hold jobs: every job ends once."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from tests.chaos.fleet import HEARTBEAT_LIMIT_S, Fleet
from tests.chaos.kit import Desk, wait_until
from tests.chaos.processors import digest

if TYPE_CHECKING:
    from pathlib import Path

HANGS_S = 90.0
"""Where nothing is said about how long something takes: by then it hangs, however busy the machine is."""


def test_a_worker_that_is_killed_while_it_runs_a_batch_is_replaced(desk: Desk, tmp_path: Path) -> None:
    jobs = 5
    with Fleet(desk, tmp_path, "hangs_once", max_wait_ms=0) as fleet:
        victim = fleet.start().ready()
        ids = desk.submit(*range(jobs))
        wait_until(lambda: desk.status().running == jobs)
        fleet.start().ready().has_beaten(4)  # before that it may not judge

        victim.kill()
        took_s = wait_until(lambda: desk.are_final(ids), HANGS_S, "the recovery")

        records = [desk.record(job) for job in ids]
        wait_until(desk.is_clean)
        wait_until(lambda: len(desk.workers()) == 1, what="forgetting the dead one")
        wait_until(lambda: len(desk.consumers()) == 1, what="forgetting its consumer")

    assert [desk.result(job) for job in ids] == [digest(number) for number in range(jobs)]
    assert {record["attempt"] for record in records} == {b"2"}
    batches = [record["batch"].split() for record in records]
    assert {size for _, size, *_ in batches} == {b"1"}  # suspects run alone, from `solo`
    assert {reason for _, _, reason, *_ in batches} == {b"recovery"}
    assert took_s > HEARTBEAT_LIMIT_S * 0.6  # how soon is measured by `make recovery`


def test_a_job_that_kills_its_workers_fails_alone_after_a_bounded_number_of_deaths(
    desk: Desk, tmp_path: Path
) -> None:
    payloads = ["one", "two", "poison", "three", "four"]
    deaths = 0
    with Fleet(desk, tmp_path, "kills_its_worker", max_wait_ms=0, max_crashes=2) as fleet:
        ids = desk.submit(*payloads)
        member = fleet.start()

        def all_final() -> bool:  # with the supervisor that every deployment has
            nonlocal member, deaths
            if member.process.poll() is not None:
                deaths += 1
                member = fleet.start()
            return desk.are_final(ids)

        wait_until(all_final, 40, "the end of the poison")
        wait_until(desk.is_clean)

    innocent = [job for job, payload in zip(ids, payloads, strict=True) if payload != "poison"]
    assert [desk.result(job) for job in innocent] == [digest(each) for each in payloads if each != "poison"]
    assert desk.error(ids[2])["type"] == "WorkerLost"
    assert desk.record(ids[2])["attempt"] == b"3"
    assert deaths == 3  # in company, and then twice alone


@pytest.mark.long
@pytest.mark.timeout(300)
def test_a_worker_that_was_frozen_past_the_limit_writes_nothing_when_it_thaws(
    desk: Desk, tmp_path: Path
) -> None:
    with Fleet(desk, tmp_path, "slow_once", max_wait_ms=0) as fleet:
        frozen = fleet.start().ready()
        ids = desk.submit(1, 2)
        wait_until(lambda: desk.status().running == 2)
        frozen.stop()
        fleet.start().ready()

        wait_until(lambda: desk.are_final(ids), HANGS_S, "the recovery")
        records = [desk.record(job) for job in ids]
        frozen.thaw()
        wait_until(
            lambda: frozen.log.count("was dropped: it is final") == 2,  # the event that this is about
            HANGS_S,
            "the thawed worker's late results",
        )
        more = desk.submit(*range(20))  # and it is a good worker again
        wait_until(lambda: desk.are_final(more), HANGS_S)
        wait_until(desk.is_clean, HANGS_S)

    assert [desk.record(job) for job in ids] == records
    assert {record["attempt"] for record in records} == {b"2"}
    assert [desk.result(ids[0]), desk.result(ids[1])] == [digest(1), digest(2)]


def test_a_freeze_shorter_than_the_limit_costs_nobody_a_second_run(desk: Desk, tmp_path: Path) -> None:
    with Fleet(desk, tmp_path, "digests", max_wait_ms=0, heartbeat_limit_s=4) as fleet:
        frozen = fleet.start().ready()
        ids = desk.submit({"n": 1, "ms": 300})
        wait_until(lambda: desk.status().running == 1)
        fleet.start().ready()
        frozen.stop()
        time.sleep(1)
        frozen.thaw()
        wait_until(lambda: desk.are_final(ids))

    assert desk.record(ids[0])["attempt"] == b"1"


def test_a_fleet_that_is_frozen_as_a_whole_does_not_call_itself_dead(desk: Desk, tmp_path: Path) -> None:
    """As when their machine was suspended: who thaws first must not take everything from the others."""
    with Fleet(desk, tmp_path, "digests", max_wait_ms=0, max_batch_size=1, heartbeat_limit_s=2) as fleet:
        for _ in range(2):
            fleet.start().ready()
        ids = desk.submit(*[{"n": n, "ms": 3000} for n in range(2)])
        wait_until(lambda: desk.status().running == 2)
        first, second = fleet.members
        first.has_beaten(4)
        second.has_beaten(4)
        first.stop()
        second.stop()
        time.sleep(2.5)  # longer than the limit
        first.thaw()
        first.has_beaten(1)
        second.thaw()
        wait_until(lambda: desk.are_final(ids), 20)

    assert [desk.record(job)["attempt"] for job in ids] == [b"1", b"1"]
