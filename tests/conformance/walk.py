"""A walk over the protocol: one real queue, the model beside it, and what always holds between the two."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import redis
from hypothesis.stateful import RuleBasedStateMachine, invariant
from tests.conformance.bench import LIMIT_MS
from tests.conformance.model import FINAL, Job, ModelBatch
from tests.conformance.snapshot import Snapshot

from microbatch.common.connection import Endpoint
from microbatch.common.connection.blocking import BlockingConnection
from microbatch.common.keys import LANES, QueueKeys
from microbatch.common.netstrings import read_netstrings
from microbatch.common.scripts import SettleCode, queue_status

if TYPE_CHECKING:
    from microbatch.common.jobs.entry import Entry

__all__ = ["KEPT_LETTERS", "KEYS", "Walk"]

KEYS = QueueKeys("model")
KEPT_LETTERS = 1_000


class Walk(RuleBasedStateMachine):
    """The queue and the model. `url` is set before a run."""

    url = ""

    def __init__(self) -> None:
        super().__init__()
        self.raw: Any = redis.Redis.from_url(self.url, protocol=2)
        self.raw.flushall()
        self.connection = BlockingConnection(Endpoint(self.url, 10.0, "model"))
        self.jobs: dict[str, Job] = {}
        self.batches: dict[str, ModelBatch] = {}
        self.paused = False
        self.draining = False
        self.size_limit: int | None = None
        self.regrouped = False

    def teardown(self) -> None:
        self.connection.close()
        self.raw.close()

    # --- what the rules share ------------------------------------------------------------------

    def record(self, local: str) -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = self.raw.hgetall(KEYS.job(local))
        return found

    def names(self, *, held: bool) -> list[str]:
        return [name for name, batch in self.batches.items() if batch.held is held]

    def waiting(self) -> set[str]:
        return {local for local, job in self.jobs.items() if job.waits}

    def kept_back(self, _waiting: set[str]) -> set[str]:
        """Those of the waiting jobs that limits keep back."""
        return set()

    def may_go(self, _key: str) -> bool:
        """Whether the rates of the queue (empty), or of a batch key, let a job go."""
        return True

    def movable(self, batch: ModelBatch) -> set[str]:
        """The jobs that leave with the batch when it is handed back or taken over."""
        return {
            entry.local for entry in batch.entries if self.is_live(entry) and self.jobs[entry.local].carried
        }

    def is_live(self, entry: Entry) -> bool:
        job = self.jobs.get(entry.local)
        return job is not None and job.token == entry.token

    def code_for(self, batch_id: str, entry: Entry) -> SettleCode:
        """What a settle of `entry` in the name of that batch has to answer."""
        job = self.jobs.get(entry.local)
        return SettleCode.FINAL if job is None else job.code_for(batch_id, entry)

    def requeued(self, locals_: set[str], *, to: str) -> None:
        """These jobs have new entries, in a lane of that kind."""
        for local in locals_:
            job = self.jobs[local]
            token = self.record(local)[b"entry"].decode()
            assert token.partition(":")[0] == job.lane(to)
            assert token != job.token
            job.token, job.holder, job.state, job.due = token, "", "queued", False

    def look(self) -> Snapshot:
        """The queue as it is now."""
        workers = sorted({batch.worker for batch in self.batches.values()})
        return Snapshot.take(self.raw, KEYS, list(self.jobs), workers)

    # --- what always holds ---------------------------------------------------------------------

    @invariant()
    def every_promise_holds(self) -> None:
        seen = self.look()
        self._every_job_is_in_exactly_one_place(seen)
        self._every_record_says_what_the_model_says(seen)
        self._what_is_pending_is_held_by_the_batch_that_it_was_given_to(seen)
        self._the_counts_add_up(seen)
        self._who_failed_for_good_has_a_letter(seen)
        assert all(seen.side.values()), "a lane outlived its last job"

    def _every_job_is_in_exactly_one_place(self, seen: Snapshot) -> None:
        live = [(local, token) for token, local in seen.entries.items() if token not in seen.tombstones]
        assert len(live) == len(dict(live)), "two entries for one job"
        carried = {local: job for local, job in self.jobs.items() if job.carried}
        assert dict(live) == {local: job.token for local, job in carried.items() if job.state == "queued"}
        assert seen.scheduled == {local for local, job in carried.items() if job.state == "scheduled"}

    def _every_record_says_what_the_model_says(self, seen: Snapshot) -> None:
        for local, job in self.jobs.items():
            record = seen.records[local]
            assert record[b"state"].decode() == job.state
            assert int(record.get(b"run", b"1")) == job.run
            past = [read_netstrings(record[b"past_%d" % run])[3] for run in range(1, job.run)]
            assert past == job.past, "the outcome of an earlier run changed"
            outcome = record.get(b"result", record.get(b"error"))
            if job.is_final:
                assert record[b"entry"] == b""
                assert outcome == job.value, "two outcomes"
                assert b"parked" not in record
            else:
                assert record[b"entry"].decode() == (job.token or "scheduled")
                assert outcome is None

    def _what_is_pending_is_held_by_the_batch_that_it_was_given_to(self, seen: Snapshot) -> None:
        held = {job.token: job.holder for job in self.jobs.values() if job.holder}
        assert all(self.batches[name].held for name in held.values())
        assert seen.pending == {token: self.batches[name].worker for token, name in held.items()}
        for worker, listed in seen.listed.items():
            assert listed == {name for name in self.names(held=True) if self.batches[name].worker == worker}

    def _the_counts_add_up(self, seen: Snapshot) -> None:
        status = self.connection.run(queue_status(KEYS, heartbeat_limit_ms=LIMIT_MS))
        due = sum(job.state == "scheduled" and job.carried and job.due for job in self.jobs.values())
        if not seen.stale_tombstones and not (self.regrouped and self._lag_is_wrong(seen)):
            assert status.waiting == len(self.waiting()) + due
            assert status.running == len(seen.pending)
        assert status.scheduled == len(seen.scheduled) - due
        assert status.dead == len(seen.letters)
        states = [job.state for job in self.jobs.values()]
        assert sum(states.count(state) for state in (*FINAL, "queued", "scheduled")) == len(self.jobs)

    def _lag_is_wrong(self, seen: Snapshot) -> bool:
        """Servers miscount the lag of a group that was made anew on a stream that lost entries."""
        for lane in LANES:
            waiting = sum(
                token.startswith(f"{lane}:") and token not in seen.pending for token in seen.entries
            )
            for group in self.raw.xinfo_groups(KEYS.lane(lane)) if self.raw.exists(KEYS.lane(lane)) else ():
                if group["lag"] not in {None, waiting}:
                    return True
        return False

    def _who_failed_for_good_has_a_letter(self, seen: Snapshot) -> None:
        assert sorted(seen.letters) == sorted(local for local, job in self.jobs.items() if job.letter)
