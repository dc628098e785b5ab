"""The steps of operators who limit the fleet: rates of the queue and of a batch key, batches at a time.

Rule: time passes for a bucket where a step says so; between two steps it gains next to nothing, because a
token takes hours. So the model counts in whole tokens.
"""

from __future__ import annotations

from typing import Final

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule
from tests.conformance.bucket_model import Bucket
from tests.conformance.walk import KEYS
from tests.conformance.walk_control import ControlSteps
from tests.conformance.walk_daily import WORKERS

from microbatch.common.scripts import limit

__all__ = ["LimitSteps"]

RATE: Final = 0.0001
TOKEN_S: Final = 1 / RATE
MOST_TOKENS: Final = 4
MOST: Final = "max_concurrent_batches"
RATES: Final = (
    "jobs_per_s",
    "batches_per_s",
    "cost_per_s",
    "jobs_per_s@k",
    "batches_per_s@k",
    "cost_per_s@k",
)
SIZES: Final = st.lists(st.sampled_from([7, 7, 3, 1]), min_size=2, max_size=4)
MANY: Final = (7, 7, 7)
SINGLE: Final = (1,) * 10
BURST_SIZES: Final = st.sampled_from([MANY, MANY, SINGLE])
MOST_BURSTS: Final = 3
"""More of them only make a walk slow: no job is ever forgotten."""
DRIFT: Final = 0.5
"""A walk is done long before half a token has come by itself."""


class LimitSteps(ControlSteps):
    """What operators allow the fleet."""

    def __init__(self) -> None:
        super().__init__()
        self.connection.run(limit(KEYS, {"burst_s": str(MOST_TOKENS * TOKEN_S)}))
        self.rates: set[str] = set()
        self.tokens: dict[str, Bucket] = {}  # of buckets that were drawn from, also while their rate is off
        self.most: int | None = None
        self.bursts = 0

    # --- what the rules share ----------------------------------------------------------------------

    def bucket(self, name: str) -> Bucket:
        return self.tokens.get(name) or Bucket(RATE, MOST_TOKENS)

    def in_force(self, key: str) -> list[str]:
        """The rates of the queue (empty), or of a batch key."""
        return [name for name in self.rates if name.partition("@")[2] == key]

    def kept_back(self, waiting: set[str]) -> set[str]:
        """Those of the waiting jobs that limits keep back: all of them, or those of a key that is held."""
        held = sum(batch.held for batch in self.batches.values())
        if (self.most is not None and held >= self.most) or not self.may_go(""):
            return waiting
        # Whoever's time had come has been called: such a lane is let go, or held anew.
        lanes = {lane.decode() for lane in self.raw.zrangebyscore(KEYS.held, f"({self.now_ms()}", "+inf")}
        assert all(lane.endswith("/k") for lane in lanes), "a key without a rate is held"
        return {local for local in waiting if self.jobs[local].token.rpartition(":")[0] in lanes}

    def now_ms(self) -> int:
        seconds, micros = self.raw.time()
        return int(seconds) * 1000 + int(micros) // 1000

    def may_go(self, _key: str) -> bool:
        return all(self.bucket(name).can(1) for name in self.in_force(_key))

    # --- the steps ---------------------------------------------------------------------------------

    @initialize(
        most=st.sampled_from([None, None, 1, 2]),
        rates=st.sets(st.sampled_from(RATES), min_size=1, max_size=3),
        sizes=SIZES,
    )
    def a_queue_with_limits(self, most: int | None, rates: set[str], sizes: list[int]) -> None:
        self._submit([f"k{n}" for n in range(8)], 0, delayed=False, home="0/k")
        self.limit_batches_at_a_time(most)
        for name in sorted(rates):
            self.limit_rate(name, on=True)
        self.claim_on("w1", sizes)

    @initialize(name=st.sampled_from(RATES), sizes=BURST_SIZES)
    def a_burst_at_first(self, name: str, sizes: tuple[int, ...]) -> None:
        self.one_limit_meets_a_burst(name, sizes)

    @precondition(lambda self: self.bursts < MOST_BURSTS and not (self.paused or self.draining))
    @rule(name=st.sampled_from(RATES), sizes=BURST_SIZES)
    def a_burst(self, name: str, sizes: tuple[int, ...]) -> None:
        self.one_limit_meets_a_burst(name, sizes)

    def one_limit_meets_a_burst(self, name: str, sizes: tuple[int, ...]) -> None:
        """Nothing but this limit decides how much leaves; whoever was held and is called has to wait."""
        self.bursts += 1
        self.limit_batches_at_a_time(None)
        for other in sorted(self.rates):
            self.limit_rate(other, on=False)
        self.limit_rate(name, on=True)
        if name in self.tokens:
            self._let_pass(name, MOST_TOKENS)
        self._burst("high", 3, "5/k")
        self._burst("low", 5, "0/k")
        self.claim_on("w1", list(sizes))
        self.hold_ends()
        self._burst("plain", 2, "main")
        self.claim_on("w2", [7, 7])

    def _burst(self, what: str, size: int, home: str) -> None:
        names = [f"{what}-{self.bursts}-{n}" for n in range(size)]
        self._submit(names, 0, delayed=False, home=home)

    def hold_ends(self) -> None:
        """Whoever was held looks again."""
        for lane in self.raw.zrange(KEYS.held, 0, -1):
            self.raw.zadd(KEYS.held, {lane: 1})

    @rule(most=st.sampled_from([None, 1, 2, 3]))
    def limit_batches_at_a_time(self, most: int | None) -> None:
        self.connection.run(limit(KEYS, {MOST: "" if most is None else str(most)}))
        self.most = most

    @rule(name=st.sampled_from(RATES), on=st.booleans())
    def limit_rate(self, name: str, *, on: bool) -> None:
        """A bucket outlives its rate, as it was."""
        self.connection.run(limit(KEYS, {name: str(RATE) if on else ""}))
        (self.rates.add if on else self.rates.discard)(name)

    @precondition(lambda self: self.tokens)
    @rule(data=st.data(), tokens=st.integers(1, MOST_TOKENS))
    def time_passes(self, data: st.DataObject, tokens: int) -> None:
        """Tokens come, and whoever was held looks again."""
        self._let_pass(data.draw(st.sampled_from(sorted(self.tokens)), label="bucket"), tokens)

    def _let_pass(self, name: str, tokens: int) -> None:
        self.tokens[name].wait(tokens * TOKEN_S)
        left, at_us = self.raw.get(KEYS.bucket(name)).split()
        self.raw.set(KEYS.bucket(name), b"%b %d" % (left, int(at_us) - int(tokens * TOKEN_S * 1_000_000)))
        self.hold_ends()

    @rule(worker=WORKERS, sizes=SIZES)
    def claim_on(self, worker: str, sizes: list[int]) -> None:
        for size in sizes:
            self._claim(worker, size, due=True, alone=False)

    def _claim(self, worker: str, size: int, *, due: bool, alone: bool) -> None:
        held = sum(batch.held for batch in self.batches.values())
        known = set(self.batches)
        super()._claim(worker, size, due=due, alone=alone)
        for name in self.batches.keys() - known:
            assert self.most is None or held < self.most
            entries = self.batches[name].entries
            # Suspects run alone and count for the queue, not for their key.
            key = "" if entries[0].token.startswith("solo:") else self.jobs[entries[0].local].batch_key
            for limited in {"", key}:
                for rate in self.in_force(limited):
                    self._spend(rate, len(entries))

    def _spend(self, rate: str, jobs: int) -> None:
        bucket = self.tokens.setdefault(rate, Bucket(RATE, MOST_TOKENS))
        spent = 1 if rate.startswith("batches") else jobs
        assert bucket.can(1)
        assert spent <= bucket.whole
        bucket.spend(spent)

    # --- what always holds -------------------------------------------------------------------------

    @invariant()
    def buckets_hold_what_the_model_says(self) -> None:
        for name in RATES:
            kept = self.raw.get(KEYS.bucket(name))
            assert (kept is not None) == (name in self.tokens)
            if kept is not None:
                left, at_us = kept.split()
                seconds, micros = self.raw.time()
                since_s = seconds - int(at_us) / 1e6 + micros / 1e6
                assert abs(min(MOST_TOKENS, float(left) + since_s * RATE) - self.tokens[name].tokens) < DRIFT
