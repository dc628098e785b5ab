"""The steps of bad days: deaths, cancels, deadlines, redrives, and somebody who deletes things."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from tests.conformance.bench import LIMIT_MS, TTL_MS
from tests.conformance.walk import KEPT_LETTERS, KEYS
from tests.conformance.walk_daily import LOCALS, WORKERS, DailySteps

from microbatch.common.codec import decode
from microbatch.common.keys import GROUP, LANES
from microbatch.common.scripts import (
    CrashTerms,
    RecordView,
    RedriveCode,
    await_results,
    cancel,
    job_status,
    purge_dead,
    redrive,
    takeover,
)

__all__ = ["TroubleSteps"]

MAX_CRASHES = 2
NIL = b"\xc0"


class TroubleSteps(DailySteps):
    """What operators, deaths and lost data do."""

    @rule(data=st.data())
    def take_over(self, data: st.DataObject) -> None:
        """A worker's jobs go to the living; it may yet act, as a zombie."""
        holders = sorted({self.batches[name].worker for name in self.names(held=True)})
        self._take_over(data.draw(st.sampled_from(holders or ["w1"]), label="dead"))

    @rule(worker=WORKERS)
    def a_job_kills_its_worker(self, worker: str) -> None:
        self._claim(worker, 1, due=True, alone=True)
        self._take_over(worker)

    def _take_over(self, dead: str) -> None:
        self.raw.zadd(KEYS.workers, {dead: 1})
        moved: set[str] = set()
        failed: set[str] = set()
        # In the order in which the server lists them: a lost group may have given a job out twice.
        for name in self.raw.hkeys(KEYS.batches(dead)):
            batch = self.batches[name.decode()]
            if batch.held:
                leaving = self.movable(batch) - moved - failed
                batch.held = False
                for local in leaving if batch.alone else ():
                    self.jobs[local].crashes += 1
                    if self.jobs[local].crashes >= MAX_CRASHES:
                        failed.add(local)
                moved |= leaving - failed
        terms = CrashTerms(MAX_CRASHES, TTL_MS, KEPT_LETTERS)
        call = takeover(KEYS, "w9", dead, heartbeat_limit_ms=LIMIT_MS, terms=terms)
        reply = self.connection.run(call)
        assert (reply.moved, reply.failed, reply.left) == (len(moved), len(failed), 0)
        for local in failed:
            error = self.record(local)[b"error"]
            assert decode(error)["type"] == "WorkerLost"
            self.jobs[local].end("failed", error, by="", letter="whole")
        self.requeued(moved, to="solo")

    @rule(local=LOCALS)
    def cancel(self, local: str) -> None:
        told = self.connection.run(cancel(KEYS, local, ttl_ms=TTL_MS))
        job = self.jobs.get(local)
        if job is None:
            assert told == "unknown"
        elif job.is_final:
            assert told == job.state
        else:
            assert told == "cancelled"
            job.end("cancelled", NIL)

    @rule(local=LOCALS, by_status=st.booleans())
    def ask(self, local: str, *, by_status: bool) -> None:
        """Whoever asks settles what nobody else would."""
        self._ask(local, by_status=by_status)

    def _ask(self, local: str, *, by_status: bool) -> None:
        if by_status:
            view = self.connection.run(job_status(KEYS, local))
            told = "unknown" if view is None else view.record[b"state"].decode()
        else:
            (found,) = self.connection.run(await_results(KEYS, "c", [local], register=True, check=True))
            told = found.state
        job = self.jobs.get(local)
        if job is None:
            assert told == "unknown"
            return
        if not job.is_final and not job.carried:
            error = self.record(local)[b"error"]
            assert decode(error)["type"] == "JobLost"
            job.end("failed", error)
        elif not job.is_final and job.late and not job.holder:
            job.end("expired", NIL)
        assert told == job.state
        if by_status and view is not None and job.holder:
            batch = self.batches[job.holder]
            assert (view.worker, view.batch, view.batch_size) == (
                batch.worker,
                job.holder,
                len(batch.entries),
            )
        if not by_status and job.is_final:
            assert found == RecordView(job.state, job.value)

    @precondition(lambda self: any(job.state == "scheduled" for job in self.jobs.values()))
    @rule(data=st.data())
    def time_comes(self, data: st.DataObject) -> None:
        """Scheduled jobs are due."""
        scheduled = sorted(
            local for local, job in self.jobs.items() if job.state == "scheduled" and job.carried
        )
        for local in data.draw(st.lists(st.sampled_from(scheduled)), label="due") if scheduled else ():
            self.raw.zadd(KEYS.scheduled, {local: 1})
            self.jobs[local].due = True

    @precondition(lambda self: any(not job.is_final for job in self.jobs.values()))
    @rule(data=st.data(), by_status=st.booleans(), asked=st.booleans())
    def deadline_passes(self, data: st.DataObject, *, by_status: bool, asked: bool) -> None:
        open_ = sorted(local for local, job in self.jobs.items() if not job.is_final)
        local = data.draw(st.sampled_from(open_), label="job")
        self.raw.hset(KEYS.job(local), "expires_ms", 1)
        self.jobs[local].late = True
        if asked:
            self._ask(local, by_status=by_status)

    @precondition(lambda self: any(job.letter for job in self.jobs.values()))
    @rule(data=st.data(), twice=st.booleans())
    def redrive(self, data: st.DataObject, *, twice: bool) -> None:
        letters = {fields[b"id"].decode(): letter.decode() for letter, fields in self.raw.xrange(KEYS.dead)}
        local = data.draw(st.sampled_from(sorted(letters)), label="job")
        job = self.jobs[local]
        codes = self.connection.run(redrive(KEYS, [letters[local]] * (2 if twice else 1)))
        if job.letter == "empty":
            assert set(codes) == {RedriveCode.NO_JOB}
            return
        assert codes == [RedriveCode.REDRIVEN, RedriveCode.GONE][: len(codes)]
        job.redrive()
        self.requeued({local}, to="home")

    @precondition(lambda self: any(job.letter for job in self.jobs.values()))
    @rule(everything=st.booleans())
    def purge(self, *, everything: bool) -> None:
        letters = [(letter.decode(), fields[b"id"].decode()) for letter, fields in self.raw.xrange(KEYS.dead)]
        gone = letters if everything else letters[:1]
        names = () if everything else [letter for letter, _ in gone]
        assert self.connection.run(purge_dead(KEYS, names)) == len(gone)
        for _, local in gone:
            self.jobs[local].letter = ""

    @rule()
    def forget_scripts(self) -> None:
        self.raw.script_flush()

    @rule(lane=st.sampled_from(LANES))
    def delete_the_group(self, lane: str) -> None:
        """What was delivered is delivered again; whoever settles first wins."""
        if not self.raw.exists(KEYS.lane(lane)):
            return
        self.raw.xgroup_destroy(KEYS.lane(lane), GROUP)
        self.regrouped = True
        for job in self.jobs.values():
            if job.token.partition(":")[0] == lane:
                job.holder = ""

    @precondition(lambda self: len(self.batches) > 5)
    @rule(lane=st.sampled_from(LANES))
    def delete_the_stream(self, lane: str) -> None:
        """Its jobs are lost, unless the worker that has one writes its result yet."""
        self.raw.delete(KEYS.lane(lane))
        for job in self.jobs.values():
            if job.token.partition(":")[0] == lane:
                job.holder, job.carried = "", False

    @precondition(lambda self: len(self.batches) > 5)
    @rule()
    def delete_the_schedule(self) -> None:
        self.raw.delete(KEYS.scheduled)
        for job in self.jobs.values():
            if job.state == "scheduled":
                job.carried, job.due = False, False
