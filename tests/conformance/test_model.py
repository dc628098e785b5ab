"""The protocol against a model: random walks over its operations, checked after every step.

The model knows for every accepted job where it is: undelivered, held by one live batch, or final with one
outcome. Derandomized: every run walks the same ways; a failure prints its steps.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
import redis
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tests.conformance.bench import LIMIT_MS, LONG_MS, TTL_MS, job
from tests.conformance.engines import REAL

from microbatch.common.codec import encode
from microbatch.common.connection import BlockingConnection, Endpoint
from microbatch.common.keys import LANES, QueueKeys
from microbatch.common.scripts import (
    BatchFacts,
    Claimed,
    CrashTerms,
    Idle,
    Outcome,
    SettleCode,
    SubmitCode,
    Watch,
    claim,
    heartbeat,
    job_status,
    queue_status,
    release,
    run_alone,
    settle,
    submit,
    takeover,
)

if TYPE_CHECKING:
    from tests.servers import Servers

    from microbatch.common.entry import Entry

KEYS = QueueKeys("model")
WORKERS = st.sampled_from(["w1", "w2", "w3"])
LOCALS = st.integers(0, 30).map(lambda n: f"j{n}")
MAX_CRASHES = 2


@dataclass
class _Batch:
    """A batch as its worker sees it: also after it was taken away."""

    worker: str
    entries: list[Entry]
    held: bool = True
    alone: bool = False
    final: set[str] = field(default_factory=set)


class ProtocolWalk(RuleBasedStateMachine):
    """One walk. `url` is set before a run."""

    url = ""

    def __init__(self) -> None:
        super().__init__()
        self.raw: Any = redis.Redis.from_url(self.url, protocol=2)
        self.raw.flushall()
        self.connection = BlockingConnection(Endpoint(self.url, 10.0, "model"))
        self.payloads: dict[str, int] = {}
        self.outcomes: dict[str, bytes] = {}
        self.token: dict[str, str] = {}
        self.batches: dict[str, _Batch] = {}
        self.crashes: dict[str, int] = {}

    def teardown(self) -> None:
        self.connection.close()
        self.raw.close()

    # --- rules ---------------------------------------------------------------------------------

    @rule(locals_=st.lists(LOCALS, min_size=1, max_size=6), payload=st.integers(0, 1))
    def submit(self, locals_: list[str], payload: int) -> None:
        expected = []
        for local in locals_:
            if local not in self.payloads:
                self.payloads[local] = payload
                expected.append(SubmitCode.NEW)
            else:
                same = self.payloads[local] == payload
                expected.append(SubmitCode.SAME if same else SubmitCode.CONFLICT)
        jobs = [job(local, payload) for local in locals_]
        reply = self.connection.run(submit(KEYS, "c", jobs, max_queue_length=1_000))
        assert (reply.codes or [SubmitCode.NEW] * len(jobs)) == expected

    @rule(worker=WORKERS, size=st.integers(1, 7), due=st.booleans())
    def claim(self, worker: str, size: int, *, due: bool) -> None:
        batch_id = f"b{len(self.batches)}"
        waiting = self._undelivered()
        lanes = {self.token[local].partition(":")[0] for local in waiting}
        call = claim(
            KEYS,
            worker,
            batch_id,
            max_batch_size=size,
            max_wait_ms=0 if due else LONG_MS,
            max_batch_bytes=1 << 24,
        )
        reply = self.connection.run(call)
        if not isinstance(reply, Claimed):
            assert not lanes & {"front", "solo"}
            assert not waiting or (not due and len(waiting) < size)
            assert isinstance(reply, Idle) or waiting
            assert isinstance(reply, Idle | Watch)
            return
        entries = reply.entries
        assert 1 <= len(entries) <= size
        assert {entry.local for entry in entries} <= waiting
        if "solo" in lanes:
            assert len(entries) == 1
        assert len({entry.local for entry in entries}) == len(entries)
        for entry in entries:
            assert entry.token == self.token[entry.local]
        self.batches[batch_id] = _Batch(worker, entries)
        again = self.connection.run(call)
        assert isinstance(again, Claimed)
        assert [entry.token for entry in again.entries] == [entry.token for entry in entries]

    @precondition(lambda self: self._names(held=True))
    @rule(data=st.data(), part=st.booleans(), succeeded=st.booleans())
    def settle(self, data: st.DataObject, *, part: bool, succeeded: bool) -> None:
        batch_id = data.draw(st.sampled_from(self._names(held=True)), label="batch")
        self._settle(batch_id, part=part, succeeded=succeeded)

    @precondition(lambda self: self._names(held=False))
    @rule(data=st.data(), part=st.booleans())
    def settle_late(self, data: st.DataObject, *, part: bool) -> None:
        """Once more by who settled it, or by a zombie whose jobs were taken over."""
        batch_id = data.draw(st.sampled_from(self._names(held=False)), label="batch")
        self._settle(batch_id, part=part, succeeded=True)

    def _settle(self, batch_id: str, *, part: bool, succeeded: bool) -> None:
        batch = self.batches[batch_id]
        entries = batch.entries[: max(1, len(batch.entries) // 2)] if part else batch.entries
        value = encode([batch_id, succeeded])
        facts = BatchFacts(batch.worker, batch_id, "wait", len(entries), 1)
        outcomes = [Outcome(entry, "succeeded" if succeeded else "failed", value) for entry in entries]
        codes = self.connection.run(
            settle(KEYS, facts, outcomes, ttl_ms=TTL_MS, dead_max_length=9, close=not part)
        )
        for entry, code in zip(entries, codes or [SettleCode.WRITTEN] * len(entries), strict=True):
            if entry.local in batch.final:
                assert code is SettleCode.REPLAY
            elif entry.local in self.outcomes:
                assert code is SettleCode.FINAL
            elif self.token[entry.local] != entry.token:
                assert code is SettleCode.MOVED
            else:
                assert code is SettleCode.WRITTEN
                self.outcomes[entry.local] = value
                batch.final.add(entry.local)
        if not part:
            batch.held = False

    @precondition(lambda self: self.batches)
    @rule(data=st.data(), held=st.booleans(), ran=st.booleans())
    def release(self, data: st.DataObject, *, held: bool, ran: bool) -> None:
        names = self._names(held=held) or sorted(self.batches)
        batch_id = data.draw(st.sampled_from(names), label="batch")
        batch = self.batches[batch_id]
        open_ = self._open_jobs(batch)
        reply = self.connection.run(release(KEYS, batch.worker, batch_id, ran=ran))
        assert (reply.moved, reply.left) == (len(open_), 0)
        batch.held = False
        self._read_tokens(open_, lane="front")

    @precondition(lambda self: any(batch.held for batch in self.batches.values()))
    @rule(data=st.data())
    def run_alone(self, data: st.DataObject) -> None:
        """The worker says that it runs nothing else, as it does for a batch of one."""
        batch_id = data.draw(st.sampled_from(self._names(held=True)), label="batch")
        batch = self.batches[batch_id]
        if len(batch.entries) == 1:
            assert self.connection.run(run_alone(KEYS, batch.worker, batch_id))
            batch.alone = True

    @rule(dead=WORKERS)
    def take_over(self, dead: str) -> None:
        """The worker's jobs go to the living; it may yet act, as a zombie."""
        self.raw.zadd(KEYS.workers, {dead: 1})
        expected_moved: set[str] = set()
        expected_failed: set[str] = set()
        for batch in self.batches.values():
            if batch.worker == dead and batch.held:
                batch.held = False
                open_ = self._open_jobs(batch, was_held=True)
                if batch.alone:
                    for local in open_:
                        self.crashes[local] = self.crashes.get(local, 0) + 1
                        (expected_failed if self.crashes[local] >= MAX_CRASHES else expected_moved).add(local)
                else:
                    expected_moved |= open_
        terms = CrashTerms(MAX_CRASHES, TTL_MS, 9)
        call = takeover(KEYS, "w9", dead, heartbeat_limit_ms=LIMIT_MS, terms=terms)
        reply = self.connection.run(call)
        assert (reply.moved, reply.failed, reply.left) == (len(expected_moved), len(expected_failed), 0)
        for local in expected_failed:
            self.outcomes[local] = self._record(local)[b"error"]
        self._read_tokens(expected_moved, lane="solo")

    @rule(worker=WORKERS, idle=st.booleans())
    def beat(self, worker: str, *, idle: bool) -> None:
        call = heartbeat(KEYS, worker, [], heartbeat_limit_ms=LIMIT_MS, stale_claim_ms=-1, idle=idle)
        look = self.connection.run(call)
        held = {name for name, batch in self.batches.items() if batch.held and batch.worker == worker}
        assert set(look.orphans) == held

    @rule(local=LOCALS)
    def status(self, local: str) -> None:
        view = self.connection.run(job_status(KEYS, local))
        if local not in self.payloads:
            assert view is None
            return
        assert view is not None
        if local in self.outcomes:
            assert view.record[b"state"] in {b"succeeded", b"failed"}
            return
        assert view.record[b"state"] == b"queued"
        holder = self._holder(local)
        assert (view.worker, view.batch) == ((self.batches[holder].worker, holder) if holder else ("", ""))

    @rule()
    def forget_scripts(self) -> None:
        self.raw.script_flush()

    # --- what always holds ---------------------------------------------------------------------

    @invariant()
    def every_job_is_in_exactly_one_place(self) -> None:
        entries: dict[str, str] = {}
        for lane in LANES:
            for entry_id, fields in self.raw.xrange(KEYS.lane(lane)):
                local = fields[b"id"].decode()
                assert local not in entries, "two entries for one job"
                entries[local] = f"{lane}:{entry_id.decode()}"
        assert set(entries) == set(self.payloads) - set(self.outcomes)
        for local in self.payloads:
            record = self._record(local)
            named = record[b"entry"].decode()
            if local in self.outcomes:
                assert named == ""
                assert record.get(b"result", record.get(b"error")) == self.outcomes[local], "two outcomes"
            else:
                assert named == entries[local]
                assert record[b"state"] == b"queued"
        self.token = entries

    @invariant()
    def what_is_pending_is_held_by_one_batch(self) -> None:
        pending: set[str] = set()
        for lane in LANES:
            if self.raw.exists(KEYS.lane(lane)):
                for row in self.raw.xpending_range(KEYS.lane(lane), "workers", "-", "+", 1_000):
                    pending.add(f"{lane}:{row['message_id'].decode()}")
        held = [e.token for b in self.batches.values() if b.held for e in b.entries if self._is_live(e)]
        assert len(held) == len(set(held))
        assert pending == set(held)

    @invariant()
    def the_counts_add_up(self) -> None:
        status = self.connection.run(queue_status(KEYS, heartbeat_limit_ms=LIMIT_MS))
        waiting = len(self._undelivered())
        assert (status.waiting, status.waiting + status.running) == (waiting, len(self.token))

    # --- the model -----------------------------------------------------------------------------

    def _record(self, local: str) -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = self.raw.hgetall(KEYS.job(local))
        return found

    def _names(self, *, held: bool) -> list[str]:
        return [name for name, batch in self.batches.items() if batch.held is held]

    def _is_live(self, entry: Entry) -> bool:
        return entry.local not in self.outcomes and self.token.get(entry.local) == entry.token

    def _open_jobs(self, batch: _Batch, *, was_held: bool = False) -> set[str]:
        if not (batch.held or was_held):
            return set()
        return {entry.local for entry in batch.entries if self._is_live(entry)}

    def _holder(self, local: str) -> str | None:
        for name, batch in self.batches.items():
            if batch.held and any(e.local == local and self._is_live(e) for e in batch.entries):
                return name
        return None

    def _undelivered(self) -> set[str]:
        return {local for local in self.token if self._holder(local) is None}

    def _read_tokens(self, locals_: set[str], *, lane: str) -> None:
        for local in locals_:
            token = self._record(local)[b"entry"].decode()
            assert token.partition(":")[0] == lane
            assert token != self.token[local]
            self.token[local] = token


@pytest.mark.parametrize("engine", REAL)
def test_random_walks_keep_every_promise(servers: Servers, engine: str) -> None:
    ProtocolWalk.url = servers.url(engine)
    run_state_machine_as_test(
        ProtocolWalk,
        settings=settings(
            max_examples=70,
            phases=(Phase.generate, Phase.shrink),
            stateful_step_count=60,
            deadline=None,
            derandomize=True,
            database=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
