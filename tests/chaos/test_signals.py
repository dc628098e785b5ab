"""Worker processes that are told to leave: they drain or hand back, and their exit code says which."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest
from tests.chaos.fleet import Fleet, Member
from tests.chaos.kit import Desk, wait_until
from tests.chaos.processors import digest
from tests.chaos.worker_main import EXIT_HANDED_BACK

if TYPE_CHECKING:
    from pathlib import Path

AT_ONCE_S = 2.0
LIMIT_S = 30.0
"""The heartbeat limit here: whoever waits for it instead of a hand-back fails."""


def a_member_with_running_jobs(desk: Desk, fleet: Fleet, *payloads: object) -> tuple[Member, list[str]]:
    member = fleet.start().ready()
    ids = desk.submit(*payloads)
    wait_until(lambda: desk.status().running == len(ids))
    return member, ids


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_drains_and_exits_with_0(desk: Desk, tmp_path: Path, number: signal.Signals) -> None:
    with Fleet(desk, tmp_path, "digests", max_wait_ms=0, heartbeat_limit_s=LIMIT_S) as fleet:
        member, ids = a_member_with_running_jobs(desk, fleet, {"n": 1, "ms": 500})
        later = desk.submit({"n": 2, "ms": 0})

        member.send(number)

        assert member.exit_code() == 0, member.log

    assert desk.result(ids[0]) == digest({"n": 1, "ms": 500})
    assert desk.record(ids[0])["attempt"] == b"1"
    assert desk.state(later[0]) == "queued"  # it claimed nothing more
    assert desk.workers() == set()


def test_an_idle_worker_leaves_at_once(desk: Desk, tmp_path: Path) -> None:
    with Fleet(desk, tmp_path, "digests") as fleet:
        member = fleet.start().ready()
        member.send(signal.SIGTERM)

        assert member.exit_code(AT_ONCE_S) == 0


def test_a_signal_that_another_thread_received_is_not_lost(desk: Desk, tmp_path: Path) -> None:
    with Fleet(desk, tmp_path, "terminates_its_own_thread", max_wait_ms=0) as fleet:
        member = fleet.start().ready()
        ids = desk.submit(1)

        assert member.exit_code(5) == 0, member.log

    assert desk.result(ids[0]) == digest(1)


def test_a_signal_during_the_start_ends_it_cleanly(desk: Desk, tmp_path: Path) -> None:
    with Fleet(
        desk, tmp_path, "digests", redis_url="unix:///nonexistent.sock", connect_timeout_s=60
    ) as fleet:
        member = fleet.start()
        desk_at_start = member.log
        wait_until(lambda: _handles_signals(member.pid), 20, "the signal handlers")
        member.send(signal.SIGTERM)

        assert member.exit_code(5) == 0, desk_at_start + member.log


def _handles_signals(pid: int) -> bool:
    with open(f"/proc/{pid}/status", encoding="ascii") as status:  # noqa: PTH123 - no path of ours
        caught = next(line for line in status if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) & 1 << (signal.SIGTERM - 1))


@pytest.mark.parametrize("processor", ["hangs_once", "hangs_once_in_a_thread", "blocks_the_loop_once"])
def test_a_second_signal_hands_back_at_once_and_another_worker_has_it(
    desk: Desk, tmp_path: Path, processor: str
) -> None:
    with Fleet(desk, tmp_path, processor, max_wait_ms=0, heartbeat_limit_s=LIMIT_S) as fleet:
        member, ids = a_member_with_running_jobs(desk, fleet, 1, 2)
        fleet.start().ready()
        member.send(signal.SIGTERM)
        wait_until(lambda: "draining" in member.log)

        member.send(signal.SIGTERM)
        took_s = wait_until(lambda: desk.are_final(ids), 10, "the other worker's result")

        assert member.exit_code() == EXIT_HANDED_BACK, member.log
        wait_until(lambda: len(desk.workers()) == 1, AT_ONCE_S, "forgetting the one that left")
        wait_until(desk.is_clean)

    assert took_s < AT_ONCE_S
    assert "handed 2 jobs back" in member.log
    assert [desk.result(job) for job in ids] == [digest(1), digest(2)]
    assert {desk.record(job)["attempt"] for job in ids} == {b"2"}


@pytest.mark.parametrize("processor", ["hangs_once_in_a_thread", "blocks_the_loop_once"])
def test_past_the_drain_deadline_the_rest_is_handed_back_whatever_blocks(
    desk: Desk, tmp_path: Path, processor: str
) -> None:
    settings = {"max_wait_ms": 0, "heartbeat_limit_s": LIMIT_S, "drain_timeout_s": 0.2}
    with Fleet(desk, tmp_path, processor, **settings) as fleet:
        member, ids = a_member_with_running_jobs(desk, fleet, 1)
        fleet.start().ready()

        member.send(signal.SIGTERM)

        assert member.exit_code(8) == EXIT_HANDED_BACK, member.log
        wait_until(lambda: desk.are_final(ids), AT_ONCE_S, "the other worker's result")
        wait_until(desk.is_clean)

    assert desk.record(ids[0])["attempt"] == b"2"


def test_tstp_stops_claiming_and_cont_resumes_and_usr1_shows_what_runs(desk: Desk, tmp_path: Path) -> None:
    with Fleet(desk, tmp_path, "digests", max_wait_ms=0) as fleet:
        member = fleet.start().ready()
        member.send(signal.SIGTSTP)
        wait_until(lambda: "quiet" in member.log)
        member.has_beaten(2)  # the line comes a moment before its effect
        wait_until(lambda: not desk.redis.exists(desk.keys.idle))
        ids = desk.submit({"n": 1, "ms": 0})
        member.has_beaten(2)  # alive, and yet
        assert desk.status().waiting == 1

        member.send(signal.SIGCONT)
        wait_until(lambda: desk.are_final(ids), 5)
        member.send(signal.SIGUSR1)
        wait_until(lambda: "most recent call first" in member.log, 5, "the stacks")

        assert "chaos=0/1" in member.log
        assert member.process.poll() is None
