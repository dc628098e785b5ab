"""From evidence to a verdict: ticks, dead letters, ends of processes, and times of recovery."""

from __future__ import annotations

from dataclasses import replace

from tests.chaos.history import Outcome, What
from tests.chaos.orders import ANSWERED, ASKED, orders_of
from tests.chaos.processors import digest
from tests.chaos.purges import PURGE
from tests.chaos.run.clerk import RUN_NOW
from tests.chaos.run.journal import ACT, QUITS, Line
from tests.chaos.run.observer import Record
from tests.chaos.run.reckoning import Evidence, Reckoning, reckon
from tests.chaos.run.recurring import rota_job, rota_jobs, ticks_between
from tests.chaos.run.unit import End
from tests.chaos.run.workload import ROTA, TICK, Landed, Task, task

SEED = 1
TICKED = Record(Outcome("succeeded", digest(TICK)), 9.0)
TICKS = tuple(ticks_between(1_000, 4_000))


def first_of(kind: str, queue: str = "mixed") -> Task:
    return next(
        one
        for number in range(1, 100_000)
        if (one := task(SEED, 0, number)).payload["do"] == kind
        and one.queue == queue
        and "unique_key" not in one.options
    )


GOOD, FAILS = first_of("good"), first_of("fails")


def lines(*tasks: Task, by: str = "producer-1") -> list[Line]:
    return [
        Line(1.0, what, one.job_id, by, None) for one in tasks for what in (What.SUBMITTED, What.ACCEPTED)
    ]


def good(one: Task) -> Record:
    return Record(Outcome("succeeded", digest(one.payload)), 2.0)


def judged(evidence: Evidence) -> Reckoning:
    return reckon(SEED, Landed(), evidence)


def test_a_run_in_which_all_is_well_is_good() -> None:
    records = {GOOD.job_id: good(GOOD), FAILS.job_id: Record(Outcome("failed", "ValueError"), 2.0)}
    assert judged(Evidence(lines(GOOD, FAILS), records, {FAILS.job_id: ["1-0"]})).is_good


def test_ticks_come_every_second_after_the_declaration_and_up_to_the_end() -> None:
    assert list(TICKS) == [f"mixed/tick:19700101T00000{second}Z" for second in (2, 3, 4)]


def test_every_tick_has_exactly_one_job_and_one_that_has_none_is_lost() -> None:
    whole = Evidence([], dict.fromkeys(TICKS, TICKED), ticks_ms=(1_000, 4_000))
    assert (judged(whole).is_good, judged(whole).ticks) == (True, 3)

    holey = replace(whole, records={job: TICKED for job in TICKS if job != TICKS[1]})
    assert [sentence.split()[0] for sentence in judged(holey).verdict.lost] == [TICKS[1]]

    began = [Line(5.0, What.BEGAN, TICKS[0], by, None, "1") for by in ("worker-1", "worker-2")]
    assert set(judged(replace(whole, lines=began)).verdict.violations) == {"repeated"}

    before = [Line(1.9, What.BEGAN, TICKS[0], "worker-1", None, "1")]
    assert set(judged(replace(whole, lines=before)).verdict.violations) == {"early"}


def test_a_failed_job_without_its_one_letter_is_odd_and_so_is_a_letter_of_a_good_one() -> None:
    records = {GOOD.job_id: good(GOOD), FAILS.job_id: Record(Outcome("failed", "ValueError"), 2.0)}
    one, two = ["1-0"], ["1-0", "2-0"]
    for letters in ({}, {FAILS.job_id: two}, {FAILS.job_id: one, GOOD.job_id: one}):
        assert len(judged(Evidence(lines(GOOD, FAILS), records, letters)).odd) == 1


def test_a_process_may_leave_by_itself_only_where_a_call_hangs_or_kills_in_it() -> None:
    hangs = first_of("hang", "raising")
    began = [Line(1.5, What.BEGAN, hangs.job_id, "worker-7", None, "1")]
    records = {hangs.job_id: Record(Outcome("failed", "BatchTimeout"), 9.0)}
    whole = Evidence([*lines(hangs), *began], records, {hangs.job_id: ["1-0"]})
    assert judged(replace(whole, ends=[End("worker-0", 7, 3.0, 75, ())])).is_good
    assert judged(replace(whole, ends=[End("worker-0", 8, 3.0, 75, ("freeze",))])).is_good
    assert len(judged(replace(whole, ends=[End("worker-0", 8, 3.0, 75, ())])).odd) == 1
    assert len(judged(replace(whole, ends=[End("worker-0", 7, 3.0, 1, ())])).odd) == 1


def test_whoever_was_ordered_to_leave_may_and_what_operators_did_is_counted() -> None:
    ordered = [
        Line(1.0, QUITS, "worker-7", "operator-1", None),
        *[Line(at_s, ACT, "stop", "operator-1", None) for at_s in (1.5, 2.5)],
    ]
    for code in (0, 75):
        found = judged(Evidence(ordered, {}, ends=[End("worker-0", 7, 3.0, code, ())]))
        assert (found.is_good, found.acts) == (True, {"stop": 2})
    assert len(judged(Evidence(ordered, {}, ends=[End("worker-0", 7, 3.0, 1, ())])).odd) == 1
    assert len(judged(Evidence(ordered, {}, ends=[End("worker-1", 8, 3.0, 0, ())])).odd) == 1


def test_two_jobs_that_had_one_key_at_a_time_are_rivals() -> None:
    rivals = [
        one
        for number in range(1, 20_000)
        if (one := task(SEED, 0, number)).queue == "mixed"
        and one.payload["do"] == "good"
        and one.options.get("unique_key") == "key 0"
    ][:2]
    records = {one.job_id: replace(good(one), accepted_s=1.0, ended_s=3.0) for one in rivals}
    assert set(judged(Evidence(lines(*rivals), records)).verdict.violations) == {"rivals"}

    records[rivals[1].job_id] = replace(records[rivals[1].job_id], accepted_s=4.0, ended_s=5.0)
    assert judged(Evidence(lines(*rivals), records)).is_good


def test_recovery_is_the_time_from_the_last_death_to_the_jobs_end() -> None:
    began = [Line(1.5, What.BEGAN, GOOD.job_id, f"worker-{pid}", None, f"{pid}") for pid in (1, 2, 3)]
    ends = [End(f"worker-{pid}", pid, float(pid), -9, ("kill",)) for pid in (1, 2)]
    records = {GOOD.job_id: replace(good(GOOD), ended_s=4.5)}
    assert judged(Evidence([*lines(GOOD), *began], records, ends=ends)).recovery_s == [2.5]

    again = replace(records[GOOD.job_id], ended_s=50.0, past=((Outcome("failed", "ResultMismatch"), 4.5),))
    found = judged(Evidence([*lines(GOOD), *began], {GOOD.job_id: again}, ends=ends))
    assert found.recovery_s == [2.5]

    later = [*ends, End("worker-3", 3, 9.0, -9, ("kill",))]  # it had answered by then
    found = judged(Evidence([*lines(GOOD), *began], {GOOD.job_id: again}, ends=later))
    assert found.recovery_s == [2.5]


def order(at_s: float, name: str, detail: str, answer: str) -> list[Line]:
    return [
        Line(at_s, ASKED, name, "operator-1", None, detail),
        Line(at_s + 0.1, ANSWERED, "", "operator-1", None, answer),
    ]


def test_a_job_that_a_purge_cancelled_has_a_right_ending_and_one_that_nobody_purged_has_not() -> None:
    records = {GOOD.job_id: Record(Outcome("cancelled", None), 2.05, 1.0)}
    purge = order(2.0, PURGE, GOOD.queue, "1")
    assert judged(Evidence([*lines(GOOD), *purge], records)).is_good
    assert set(judged(Evidence(lines(GOOD), records)).verdict.violations) == {"wrong"}

    began = Line(1.5, What.BEGAN, GOOD.job_id, "worker-1", None, "1")
    found = judged(Evidence([*lines(GOOD), began, *purge], records))
    assert set(found.verdict.violations) == {"purged"}


ORDERS = [
    *order(1.5, "cron add", "rota", "new"),
    *order(3.5, "cron pause", "rota 13000", "True"),
    *order(3.8, RUN_NOW, "rota", "mixed/at-once"),
]
RAN = Record(Outcome("succeeded", digest(ROTA)), 9.0)
JOBS = [rota_job(2000), rota_job(3000), "mixed/at-once"]


def test_an_operators_schedule_has_a_job_for_each_tick_and_one_for_each_order_to_run_now() -> None:
    whole = Evidence(ORDERS, dict.fromkeys(JOBS, RAN))
    found = judged(whole)
    assert (found.is_good, found.ticks) == (True, 3)
    assert set(JOBS) <= rota_jobs(orders_of(ORDERS))

    for job in JOBS:
        holey = judged(replace(whole, records={each: RAN for each in JOBS if each != job}))
        assert [sentence.split()[0] for sentence in holey.verdict.lost] == [job]

    paused = judged(replace(whole, records={**whole.records, rota_job(5000): RAN}))
    assert set(paused.verdict.violations) == {"unexpected"}


def test_a_tick_may_be_purged_once_its_time_has_come_and_not_before() -> None:
    for ended_s, kinds in ((2.05, set()), (1.95, {"purged"})):
        purge = order(ended_s - 0.05, PURGE, "mixed", "1")
        records = dict.fromkeys(JOBS, RAN) | {rota_job(2000): Record(Outcome("cancelled", None), ended_s)}
        assert set(judged(Evidence([*ORDERS, *purge], records)).verdict.violations) == kinds


def test_an_order_to_run_now_without_an_answer_may_have_one_job_and_no_more() -> None:
    strangers = [Line(4.0, What.BEGAN, f"mixed/stranger-{n}", "worker-1", None, "1") for n in (1, 2)]
    unsure = [*ORDERS, Line(3.9, ASKED, RUN_NOW, "operator-2", None, "rota")]
    records = dict.fromkeys([*JOBS, "mixed/stranger-1"], RAN)
    assert judged(Evidence([*unsure, strangers[0]], records)).is_good
    assert judged(Evidence(unsure, dict.fromkeys(JOBS, RAN))).is_good

    more = judged(Evidence([*unsure, *strangers], {**records, "mixed/stranger-2": RAN}))
    assert set(more.verdict.violations) == {"unexpected"}
