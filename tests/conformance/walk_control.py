"""The steps of operators: hold a queue up, purge and limit it; list, cancel and hasten its jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from tests.conformance.bench import TTL_MS
from tests.conformance.walk import KEYS
from tests.conformance.walk_daily import LOCALS
from tests.conformance.walk_trouble import NIL, TroubleSteps

from microbatch.common.keys import LANES
from microbatch.common.scripts import (
    NOWHERE,
    Purged,
    cancel_all,
    hold,
    job_entry,
    job_records,
    lane_jobs,
    limit,
    purge,
    run_now,
    scheduled_jobs,
)

if TYPE_CHECKING:
    from microbatch.common.scripts import JobSight, QueueGate, Which

__all__ = ["ControlSteps"]

WHO = "me@here"
STATES: Final = ("queued", "running")
COUNTS = st.sampled_from([1, 2, 3, 50])
SOME = st.lists(LOCALS, min_size=1, max_size=6, unique=True)


class ControlSteps(TroubleSteps):
    """What operators do to a queue and to its jobs."""

    # --- the queue ---------------------------------------------------------------------------------

    @precondition(lambda self: not self.paused)
    @rule()
    def pause(self) -> None:
        self._told(self.connection.run(hold(KEYS, "pause", WHO)), paused=True, draining=self.draining)

    @precondition(lambda self: not self.draining)
    @rule()
    def drain(self) -> None:
        """It ends a pause: what is there is to leave."""
        self._told(self.connection.run(hold(KEYS, "drain", WHO)), paused=False, draining=True)

    @precondition(lambda self: self.paused or self.draining)
    @rule(times=st.sampled_from([1, 1, 2]))
    def resume(self, times: int) -> None:
        for _ in range(times):
            self._told(self.connection.run(hold(KEYS, "resume", WHO)), paused=False, draining=False)

    def _told(self, gate: QueueGate, *, paused: bool, draining: bool) -> None:
        self.paused, self.draining = paused, draining
        assert (gate.paused is not None, gate.draining is not None) == (paused, draining)

    @rule(size=st.sampled_from([None, 1, 2, 5]))
    def limit_size(self, size: int | None) -> None:
        self.connection.run(limit(KEYS, {"max_batch_size": "" if size is None else str(size)}))
        self.size_limit = size

    @precondition(lambda self: len(self.batches) > 3)
    @rule(most=st.sampled_from([1, 3, 256]))
    def purge_jobs(self, most: int) -> None:
        """Whatever waits is cancelled, in steps; what runs goes on."""
        going = {local for local, job in self.jobs.items() if job.waits}
        going |= {local for local, job in self.jobs.items() if job.state == "scheduled" and job.carried}
        last: Purged | None = None
        cancelled = 0
        while last is None or last.more:
            last = self.connection.run(purge(KEYS, last, most=most))
            assert last.cancelled <= most
            cancelled += last.cancelled
        assert cancelled == len(going)
        for local in going:
            self.jobs[local].end("cancelled", NIL)

    # --- its jobs ----------------------------------------------------------------------------------

    @rule(locals_=SOME)
    def cancel_some(self, locals_: list[str]) -> None:
        told = self.connection.run(cancel_all(KEYS, locals_, ttl_ms=TTL_MS))
        for local, state in zip(locals_, told, strict=True):
            job = self.jobs.get(local)
            if job is not None and not job.is_final:
                job.end("cancelled", NIL)
            assert state == ("unknown" if job is None else job.state)

    @rule(locals_=SOME)
    def hasten(self, locals_: list[str]) -> None:
        """Scheduled jobs are due now, also where somebody deleted the set that had them."""
        told = self.connection.run(run_now(KEYS, locals_))
        for local, answer in zip(locals_, told, strict=True):
            job = self.jobs.get(local)
            if job is not None and job.state == "scheduled":
                assert answer == "due"
                job.due = job.carried = True
            else:
                assert answer == ("unknown" if job is None else job.state)

    @rule(count=COUNTS)
    def list_jobs(self, count: int) -> None:
        """Every job is told once, where the model has it."""
        told = [one for which in STATES for one in self._in_lanes(which, count)]
        assert sorted(one.token for one in told) == sorted(one.token for one in self._in_lanes("", count))
        expected = {
            job.token: (local, self.batches[job.holder].worker if job.holder else "", job.holder)
            for local, job in self.jobs.items()
            if job.state == "queued" and job.carried
        }
        assert len(told) == len(expected)
        for one in told:
            assert (one.fields[b"id"].decode(), one.worker, one.batch) == expected[one.token]
            assert one.fault == ""
        after, scheduled = NOWHERE, []
        while True:
            page = self.connection.run(scheduled_jobs(KEYS, after=after, count=count))
            scheduled += [one.member.decode() for one in page.jobs]
            after = page.after
            if after == NOWHERE:
                break
        assert sorted(scheduled) == sorted(
            local for local, job in self.jobs.items() if job.state == "scheduled" and job.carried
        )

    def _in_lanes(self, which: Which, count: int) -> list[JobSight]:
        lanes = [*LANES, *(lane.decode() for lane in self.raw.zrange(KEYS.lanes, 0, -1))]
        after, found = "", []
        while True:
            call = lane_jobs(KEYS, lanes, which=which, after=after, count=count)
            page = self.connection.run(call)
            found += page.jobs
            after = page.after
            if not after:
                return found
            lanes = lanes[lanes.index(after.rpartition(":")[0]) :]

    @rule(locals_=SOME)
    def look_at_some(self, locals_: list[str]) -> None:
        records = self.connection.run(job_records(KEYS, locals_)).records
        final = {local: job.state for local in locals_ if (job := self.jobs.get(local)) and job.is_final}
        assert {one.local.decode(): one.state.decode() for one in records} == final
        for local in locals_:
            job = self.jobs.get(local)
            entry = self.connection.run(job_entry(KEYS, local))
            # A scheduled job's entry is in its record, whatever became of the set.
            has_one = job is not None and not job.is_final and (job.carried or job.state == "scheduled")
            assert (entry is not None) == has_one
            if entry is not None and job is not None:
                assert entry.token == (job.token or "scheduled")
