"""A short random life: workers are killed, frozen and told to leave while jobs come in; the judge looks on.

`CHAOS_SEED` repeats a run, as far as time can be repeated; `CHAOS_SECONDS` makes it longer.
"""

from __future__ import annotations

import os
import random
import signal
import time
from typing import TYPE_CHECKING, Any

from tests.chaos.fleet import Fleet, Member
from tests.chaos.history import Event, Outcome, Wanted, What, judge
from tests.chaos.kit import Desk, wait_until
from tests.chaos.processors import digest

from microbatch.common.codec import decode, unpacker
from microbatch.common.states import FINAL_STATES

if TYPE_CHECKING:
    from pathlib import Path

SEED = int(os.environ.get("CHAOS_SEED", "0")) or random.SystemRandom().randrange(1, 10**9)
SECONDS = float(os.environ.get("CHAOS_SECONDS", "9"))
WORKERS = 3
JOBS_PER_STEP = 12
STEP_S = 0.08


class Run:
    """One run: its jobs, its worker processes and what was seen."""

    def __init__(self, desk: Desk, fleet: Fleet, seed: int) -> None:
        self.wanted: dict[str, Wanted] = {}
        self.events: list[Event] = []
        self.ids: list[str] = []
        self.deeds: list[str] = []
        self._desk = desk
        self._fleet = fleet
        self._random = random.Random(seed)  # noqa: S311 - chaos, not secrets
        self._pushes = desk.redis.pubsub()
        self._pushes.subscribe(desk.keys.reply_channel("desk"))
        self._number = 0

    def submit(self) -> None:
        payloads = []
        for _ in range(self._random.randrange(1, 2 * JOBS_PER_STEP)):
            self._number += 1
            payloads.append({"n": self._number, "ms": self._random.choice((0, 0, 1, 5, 30))})
        for local, payload in zip(self._desk.submit(*payloads), payloads, strict=True):
            self.wanted[local] = Wanted(digest(payload))
            self.events += [Event(What.SUBMITTED, local), Event(What.ACCEPTED, local)]
            self.ids.append(local)

    def harm(self) -> None:
        """Do something to one worker, and see to it that there are always enough."""
        able = [member for member in self._fleet.living if not member.is_stopped]
        frozen = [member for member in self._fleet.living if member.is_stopped]
        deed = self._random.choice(
            ("kill", "kill", "freeze", "thaw", "leave", "leave at once", "kill connections")
        )
        if deed == "thaw" and frozen:
            self._random.choice(frozen).thaw()
        elif deed == "kill connections":
            self._desk.redis.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        elif able and deed != "thaw":
            self._do(deed, self._random.choice(able))
        self.deeds.append(deed)
        while len([member for member in self._fleet.living if not member.is_stopped]) < WORKERS:
            self._fleet.start()

    def _do(self, deed: str, member: Member) -> None:
        if deed == "kill":
            member.kill()
        elif deed == "freeze":
            member.stop()
        else:
            member.send(signal.SIGTERM)
            if deed == "leave at once":
                member.send(signal.SIGTERM)

    def look(self) -> None:
        """Note what was announced, and what a few records say now."""
        while (message := self._pushes.get_message(ignore_subscribe_messages=True)) is not None:
            parts = unpacker()
            parts.feed(message["data"])
            self.events += [
                Event(What.TOLD, part[0], "desk", Outcome(part[1], _plain(part[1], part[2])))
                for part in parts
            ]
        for local in self._random.sample(self.ids, min(5, len(self.ids))):
            outcome = self._outcome(local)
            if outcome is not None:
                self.events.append(Event(What.SEEN, local, outcome=outcome))

    def end(self) -> None:
        """Heal everything, let the queue run dry, and read all records."""
        for member in self._fleet.living:
            member.thaw()
        self.harmless_workers()
        wait_until(lambda: self._desk.are_final(self.ids), 30, "the end of every job")
        wait_until(self._desk.is_clean, 10, "a clean queue")
        self.look()
        for local in self.ids:
            outcome = self._outcome(local)
            if outcome is not None:
                self.events.append(Event(What.FINAL, local, outcome=outcome))
        self._pushes.close()

    def harmless_workers(self) -> None:
        if not self._fleet.living:
            self._fleet.start()

    def _outcome(self, local: str) -> Outcome | None:
        record = self._desk.record(local)
        state = record.get("state", b"").decode()
        if state not in FINAL_STATES:
            return None
        return Outcome(state, _plain(state, decode(record["result" if state == "succeeded" else "error"])))


def _plain(state: str, value: Any) -> object:
    return value if state == "succeeded" else value["type"]


def test_whatever_happens_to_the_workers_every_job_ends_once_and_with_its_own_result(
    desk: Desk, tmp_path: Path
) -> None:
    print(f"CHAOS_SEED={SEED}")  # noqa: T201 - shown when the test fails, to repeat it
    settings = {
        "max_batch_size": 8,
        "max_wait_ms": 3,
        "concurrency": 2,
        "max_crashes": 1000,
        "drain_timeout_s": 2,
    }
    with Fleet(desk, tmp_path, "digests", **settings) as fleet:
        run = Run(desk, fleet, SEED)
        for _ in range(WORKERS):
            fleet.start()
        began_s = time.monotonic()
        harmed_s = 0.0
        while (now_s := time.monotonic() - began_s) < SECONDS:
            run.submit()
            run.look()
            if now_s - harmed_s > 0.5:
                run.harm()
                harmed_s = now_s
            time.sleep(STEP_S)  # the rhythm of arrivals
        run.end()
        ended = {member.process.returncode for member in fleet.members if member.process.poll() is not None}

    verdict = judge(run.wanted, run.events)
    print(f"{verdict.accepted} jobs, deeds: {run.deeds}")  # noqa: T201 - as above
    assert verdict.violations == {}
    assert verdict.accepted > 100 * SECONDS
    assert ended <= {0, 75, -signal.SIGKILL, -signal.SIGTERM}, "a worker ended by itself"
