"""The steps of every day: submit, claim, settle, retry, hand back, beat; each also once more, or too late."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule
from tests.conformance.bench import LIMIT_MS, LONG_MS, TTL_MS, job
from tests.conformance.model import Job, ModelBatch
from tests.conformance.walk import KEPT_LETTERS, KEYS, Walk

from microbatch.common.codec import encode, encode_error
from microbatch.common.scripts import (
    BatchFacts,
    Claimed,
    Ending,
    Idle,
    Outcome,
    SettleCode,
    SubmitCode,
    Watch,
    claim,
    heartbeat,
    release,
    run_alone,
    settle,
    submit,
)

__all__ = ["LOCALS", "WORKERS", "DailySteps"]

WORKERS = st.sampled_from(["w1", "w2", "w3"])
LOCALS = st.integers(0, 40).map(lambda n: f"j{n}")
LATER_MS = 1_000_000
ENDINGS: list[Ending] = ["succeeded", "failed", "failed", "retry", "retry", "expired"]


class DailySteps(Walk):
    """What clients and healthy workers do."""

    @initialize()
    def a_queue_with_work(self) -> None:
        self._submit([f"j{n}" for n in range(8)], 0, delayed=False)

    @rule(
        locals_=st.lists(LOCALS, min_size=2, max_size=8),
        payload=st.sampled_from([0, 0, 0, 1]),
        delayed=st.sampled_from([False, False, True]),
        priority=st.sampled_from([0, 0, 5, -5]),
        key=st.sampled_from(["", "", "k", "other"]),
    )
    def submit(self, locals_: list[str], payload: int, *, delayed: bool, priority: int, key: str) -> None:
        home = f"{priority}/{key}" if priority or key else "main"
        self._submit(locals_, payload, delayed=delayed, home=home)

    def _submit(self, locals_: list[str], payload: int, *, delayed: bool, home: str = "main") -> None:
        expected, fresh = [], set()
        for local in locals_:
            known = self.jobs.get(local)
            if known is None and self.draining:
                expected.append(SubmitCode.CLOSED)
            elif known is None:
                self.jobs[local] = Job(payload, home, "scheduled" if delayed else "queued")
                fresh.add(local)
                expected.append(SubmitCode.NEW)
            else:
                expected.append(SubmitCode.SAME if known.payload == payload else SubmitCode.CONFLICT)
        delay_ms = LATER_MS if delayed else None
        priority, _, key = home.partition("/")
        more = {} if home == "main" else {"priority": int(priority), "batch_key": key}
        jobs = [job(local, payload, delay_ms=delay_ms, expires_in_ms=LATER_MS, **more) for local in locals_]
        reply = self.connection.run(submit(KEYS, "c", jobs, max_queue_length=1_000))
        assert (reply.codes or [SubmitCode.NEW] * len(jobs)) == expected
        if not delayed:
            self.requeued(fresh, to="home")

    @rule(
        worker=WORKERS,
        size=st.sampled_from([1, 1, 2, 3, 7]),
        due=st.sampled_from([True, True, False]),
        alone=st.booleans(),
    )
    def claim(self, worker: str, size: int, *, due: bool, alone: bool) -> None:
        self._claim(worker, size, due=due, alone=alone)

    def _claim(self, worker: str, size: int, *, due: bool, alone: bool) -> None:
        batch_id = f"b{len(self.batches)}"
        call = claim(
            KEYS,
            worker,
            batch_id,
            max_batch_size=size,
            max_wait_ms=0 if due else LONG_MS,
            max_batch_bytes=1 << 24,
        )
        reply = self.connection.run(call)
        if self.paused:
            assert isinstance(reply, Idle)
            return
        promoted = {local for local, job_ in self.jobs.items() if job_.state == "scheduled" and job_.due}
        self.requeued(promoted, to="home")
        waiting = self.waiting()
        if not isinstance(reply, Claimed):  # what limits keep back may wait on
            waiting -= self.kept_back(waiting)
        lanes = {self.jobs[local].token.partition(":")[0] for local in waiting}
        if not isinstance(reply, Claimed):
            assert not any(lane.startswith(("front", "solo")) for lane in lanes)
            in_main = [local for local in waiting if self.jobs[local].token.startswith("main:")]
            few = len(in_main) < size or self.look().stale_tombstones
            assert not waiting or (not due and few)
            assert isinstance(reply, Idle) or self.waiting() or not self.may_go("")
            assert isinstance(reply, Idle | Watch)
            return
        entries = reply.entries
        assert 1 <= len(entries) <= size
        assert {entry.local for entry in entries} <= waiting
        if "solo" in lanes:
            assert len(entries) == 1
        assert len({entry.local for entry in entries}) == len(entries)
        assert len({self.jobs[entry.local].batch_key for entry in entries}) == 1
        for entry in entries:
            assert entry.token == self.jobs[entry.local].token
            assert entry.crashes == self.jobs[entry.local].crashes
            self.jobs[entry.local].holder = batch_id
        self.batches[batch_id] = ModelBatch(worker, entries)
        again = self.connection.run(call)
        assert isinstance(again, Claimed)
        assert [entry.token for entry in again.entries] == [entry.token for entry in entries]
        if alone and len(entries) == 1:  # the worker says that it runs nothing else
            assert self.connection.run(run_alone(KEYS, worker, batch_id))
            self.batches[batch_id].alone = True

    @precondition(lambda self: self.names(held=True))
    @rule(
        data=st.data(),
        part=st.sampled_from([False, False, True]),
        ending=st.sampled_from(ENDINGS),
        soon=st.booleans(),
    )
    def settle(self, data: st.DataObject, *, part: bool, ending: Ending, soon: bool) -> None:
        batch_id = data.draw(st.sampled_from(self.names(held=True)), label="batch")
        self._settle(batch_id, part=part, ending=ending, soon=soon)

    @precondition(lambda self: self.names(held=False))
    @rule(data=st.data(), part=st.booleans(), ending=st.sampled_from(ENDINGS))
    def settle_late(self, data: st.DataObject, *, part: bool, ending: Ending) -> None:
        """Once more by who settled it, or by a zombie whose jobs were taken over."""
        batch_id = data.draw(st.sampled_from(self.names(held=False)), label="batch")
        self._settle(batch_id, part=part, ending=ending, soon=False)

    def _settle(self, batch_id: str, *, part: bool, ending: Ending, soon: bool) -> None:
        batch = self.batches[batch_id]
        entries = batch.entries[: max(1, len(batch.entries) // 2)] if part else batch.entries
        value = encode([batch_id, ending]) if ending == "succeeded" else encode_error(batch_id, ending)
        facts = BatchFacts(batch.worker, batch_id, "wait", len(entries), 1)
        outcomes = [Outcome(entry, ending, value, 0 if soon else LATER_MS) for entry in entries]
        call = settle(
            KEYS,
            facts,
            outcomes,
            ttl_ms=TTL_MS,
            dead_max_length=KEPT_LETTERS,
            close=not part or not batch.held,
        )
        codes = self.connection.run(call) or [SettleCode.WRITTEN] * len(entries)
        assert codes == [self.code_for(batch_id, entry) for entry in entries]
        for entry, code in zip(entries, codes, strict=True):
            if code is not SettleCode.WRITTEN:
                continue
            one = self.jobs[entry.local]
            if ending == "retry" and one.carried:
                one.park(due=soon, by=batch_id)
            else:  # what has no entry any more cannot be run again
                state = "failed" if ending == "retry" else ending
                letter = "" if state != "failed" else "whole" if one.carried else "empty"
                one.end(state, value, by=batch_id, letter=letter)
        if not part:
            batch.held = False

    @precondition(lambda self: self.batches)
    @rule(data=st.data(), held=st.booleans(), ran=st.booleans(), suspect=st.booleans())
    def release(self, data: st.DataObject, *, held: bool, ran: bool, suspect: bool) -> None:
        names = self.names(held=held) or sorted(self.batches)
        batch_id = data.draw(st.sampled_from(names), label="batch")
        batch = self.batches[batch_id]
        moved = self.movable(batch) if batch.held else set()
        lane = "solo" if suspect else "front"
        reply = self.connection.run(
            release(KEYS, batch.worker, batch_id, ran=ran, lane="solo" if suspect else "front")
        )
        assert (reply.moved, reply.left) == (len(moved), 0)
        batch.held = False
        self.requeued(moved, to=lane)

    @precondition(lambda self: self.names(held=False))
    @rule(data=st.data())
    def run_alone_late(self, data: st.DataObject) -> None:
        """What was taken away must not be run."""
        batch_id = data.draw(st.sampled_from(self.names(held=False)), label="batch")
        assert not self.connection.run(run_alone(KEYS, self.batches[batch_id].worker, batch_id))

    @rule(worker=WORKERS, idle=st.booleans())
    def beat(self, worker: str, *, idle: bool) -> None:
        call = heartbeat(KEYS, worker, [], heartbeat_limit_ms=LIMIT_MS, stale_claim_ms=-1, idle=idle)
        look = self.connection.run(call)
        assert look.limits.max_batch_size == self.size_limit
        held = {name for name in self.names(held=True) if self.batches[name].worker == worker}
        assert set(look.orphans) == held
