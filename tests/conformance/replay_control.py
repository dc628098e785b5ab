"""The part of the table of `test_replay` that is about operators: what they hold up, purge, limit, list."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.conformance import replay_stages as stages
from tests.conformance.bench import LONG_MS, job
from tests.conformance.replay_table import Late, Row

from microbatch.common import scripts

if TYPE_CHECKING:
    from tests.conformance.bench import Bench

    from microbatch.common.scripts import Call

__all__ = ["CONTROL_ROWS"]


async def to_list_lanes(bench: Bench) -> Call[Any]:
    await bench.submit("a")
    return scripts.lane_jobs(bench.keys, ["main"])


async def to_list_schedule(bench: Bench) -> Call[Any]:
    await bench.submit(job("a", delay_ms=int(LONG_MS)))
    return scripts.scheduled_jobs(bench.keys)


async def to_read_records(bench: Bench) -> Call[Any]:
    await bench.submit("a")
    return scripts.job_records(bench.keys, ["a"])


async def to_read_an_entry(bench: Bench) -> Call[Any]:
    await bench.submit("a")
    return scripts.job_entry(bench.keys, "a")


async def to_hasten(bench: Bench) -> Call[Any]:
    await bench.submit(job("a", delay_ms=int(LONG_MS)))
    return scripts.run_now(bench.keys, ["a"])


CONTROL_ROWS = [
    Row(
        "hold",
        stages.to_pause,
        ("me@here", None),
        ("me@here", None),
        {"after it was resumed": Late(stages.resume, ("me@here", None), "it is paused again")},
        lambda gate: (gate.paused and gate.paused.who, gate.draining and gate.draining.who),
    ),
    Row(
        "hold",
        stages.to_drain,
        "me@here",
        "me@here",
        {"after it was resumed": Late(stages.resume, "me@here", "it drains again")},
        lambda gate: gate.draining and gate.draining.who,
    ),
    Row(
        "purge",
        stages.to_purge_jobs,
        1,
        0,
        {
            "after another job came": Late(stages.submit_another, 1, "that job is cancelled too"),
            "delayed, while the job runs": Late(lambda bench: bench.take("b1"), 0, delayed=True),
        },
        lambda purged: purged.cancelled,
    ),
    Row(
        "limit",
        stages.to_limit,
        1,
        1,
        {"after it was taken away": Late(stages.unlimit, 1, "the limit holds again")},
    ),
    Row(
        "lane_jobs",
        to_list_lanes,
        [b"a"],
        [b"a"],
        {"after the job's end": Late(stages.end_the_job, [])},
        lambda page: [one.fields[b"id"] for one in page.jobs],
    ),
    Row(
        "scheduled_jobs",
        to_list_schedule,
        [b"a"],
        [b"a"],
        {"after a cancel": Late(stages.cancel_it, [])},
        lambda page: [one.member for one in page.jobs],
    ),
    Row(
        "job_records",
        to_read_records,
        [],
        [],
        {"after the job's end": Late(stages.end_the_job, [b"succeeded"])},
        lambda found: [one.state for one in found.records],
    ),
    Row(
        "job_entry",
        to_read_an_entry,
        True,
        True,
        {"after the job's end": Late(stages.end_the_job, False)},
        lambda entry: entry is not None,
    ),
    Row(
        "run_now",
        to_hasten,
        ["due"],
        ["due"],
        {
            "after the job's end": Late(stages.promote_and_end, ["succeeded"]),
            "delayed, after a cancel": Late(stages.cancel_it, ["cancelled"], delayed=True),
        },
    ),
]
