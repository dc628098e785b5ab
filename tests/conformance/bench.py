"""The workbench of the conformance tests: the protocol's operations with defaults, and plain looks at Redis.

Rule: nothing here sleeps. A job gets older by an older entry id, a worker by an older heartbeat score; that
somebody was not told is shown by a mark that arrives first.
"""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

import msgpack
import redis.asyncio as aioredis

from microbatch.common.codec import encode
from microbatch.common.identifiers import payload_digest
from microbatch.common.keys import GROUP, LANES, QueueKeys
from microbatch.common.scripts import (
    BatchFacts,
    BatchTerms,
    Call,
    Claimed,
    ClaimReply,
    CrashTerms,
    Hold,
    JobOptions,
    JobView,
    Look,
    NewJob,
    Outcome,
    QueueStatus,
    RawLetter,
    RedriveCode,
    Released,
    SettleCode,
    SubmitReply,
    TakenOver,
    cancel,
    claim,
    dead_letters,
    heartbeat,
    job_status,
    purge_dead,
    queue_status,
    redrive,
    release,
    run_alone,
    settle,
    step_aside,
    submit,
    takeover,
)
from microbatch.common.scripts.script import Script

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from tests.conformance.engines import Engine

    from microbatch.common.jobs.entry import Entry

__all__ = ["LIMIT_MS", "OK", "TTL_MS", "Bench", "Heard", "job"]

T = TypeVar("T")
TTL_MS = 60_000
DEAD_MAX_LENGTH = 1_000
LIMIT_MS = 15_000
LONG_MS = 500_000.0
OK = encode("done")
MARK = b"-mark-"


def job(local: str, payload: object = None, **options: Any) -> NewJob:
    """A job as a producer submits it."""
    data = encode(local if payload is None else payload)
    return NewJob(local, payload_digest(data), data, JobOptions(**options).encoded())


@dataclass
class Heard:
    """What arrived on channels, by channel."""

    pubsub: aioredis.client.PubSub
    raw: Any
    channel: str

    async def all(self) -> list[bytes]:
        """Every message since the last call: a mark that we publish now comes after them."""
        await self.raw.publish(self.channel, MARK)
        found: list[bytes] = []
        while True:
            message = await self.pubsub.get_message(ignore_subscribe_messages=True, timeout=5.0)
            if message is None:
                continue
            if message["data"] == MARK:
                return found
            found.append(message["data"])

    async def fragments(self) -> list[list[Any]]:
        """The msgpack fragments of those messages."""
        found: list[list[Any]] = []
        for message in await self.all():
            unpacker = msgpack.Unpacker()
            unpacker.feed(message)
            found += unpacker
        return found


@cache
def _patient(script: Script) -> Script:
    text = script.text.replace("WAKE_LEASE_MS = '100'", "WAKE_LEASE_MS = '60000'")
    return Script(script.name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


@dataclass
class Bench:
    """One queue on one engine."""

    engine: Engine
    keys: QueueKeys = field(default_factory=lambda: QueueKeys("q"))
    real_leases: bool = False
    """Else a wake is in flight for a minute: on a busy machine 100 ms pass between two steps of a test."""

    @property
    def raw(self) -> Any:
        return self.engine.raw

    async def run(self, call: Call[T]) -> T:
        return await self.engine.run(
            call if self.real_leases else replace(call, script=_patient(call.script))
        )

    # --- the protocol, with defaults ------------------------------------------------------------

    async def submit(self, *jobs: NewJob | str, client: str = "c1", limit: int = 100_000) -> SubmitReply:
        new = [job(one) if isinstance(one, str) else one for one in jobs]
        return await self.run(submit(self.keys, client, new, max_queue_length=limit))

    async def claim(  # noqa: PLR0913 - all but one have a default
        self,
        batch: str,
        worker: str = "w1",
        *,
        size: int = 32,
        wait_ms: float = 0.0,
        max_bytes: int = 1 << 24,
        hold: Hold | None = None,
        terms: BatchTerms | None = None,
        spare: str = "",
        offers: str = "",
    ) -> ClaimReply:
        return await self.run(
            claim(
                self.keys,
                worker,
                batch,
                max_batch_size=size,
                max_wait_ms=wait_ms,
                max_batch_bytes=max_bytes,
                spare=spare,
                offers=offers,
                hold=hold,
                terms=terms or BatchTerms(),
            )
        )

    async def take(self, batch: str, worker: str = "w1", **more: Any) -> list[Entry]:
        """A claim that must yield a batch."""
        reply = await self.claim(batch, worker, **more)
        assert isinstance(reply, Claimed), reply
        return reply.entries

    async def settle(  # noqa: PLR0913 - all but two have a default
        self,
        batch: str,
        entries: Sequence[Entry],
        worker: str = "w1",
        *,
        value: bytes = OK,
        succeeded: bool = True,
        ttl_ms: int = TTL_MS,
        close: bool = True,
        size: int | None = None,
        offer: tuple[str, str] | None = None,
    ) -> list[SettleCode] | None:
        """Settle jobs of a batch; `size`: how many it had, where some were settled before."""
        facts = BatchFacts(worker, batch, "wait", size or len(entries), await self.now_ms())
        outcomes = [Outcome(entry, "succeeded" if succeeded else "failed", value) for entry in entries]
        limits = {"ttl_ms": ttl_ms, "dead_max_length": DEAD_MAX_LENGTH}
        return await self.run(settle(self.keys, facts, outcomes, **limits, close=close, offer=offer))

    async def release(self, batch: str, worker: str = "w1", *, ran: bool = False, **to: Any) -> Released:
        return await self.run(release(self.keys, worker, batch, ran=ran, **to))

    async def takeover(self, dead: str, by: str = "w9", *, max_crashes: int = 2) -> TakenOver:
        return await self.run(
            takeover(
                self.keys,
                by,
                dead,
                heartbeat_limit_ms=LIMIT_MS,
                terms=CrashTerms(max_crashes, TTL_MS, DEAD_MAX_LENGTH),
            )
        )

    async def alone(self, batch: str, worker: str = "w1") -> bool:
        return await self.run(run_alone(self.keys, worker, batch))

    async def retry(
        self, batch: str, entries: Sequence[Entry], worker: str = "w1", *, delay_ms: int = 0
    ) -> list[SettleCode] | None:
        """Settle runs that failed and are followed by others."""
        facts = BatchFacts(worker, batch, "wait", len(entries), await self.now_ms())
        outcomes = [Outcome(entry, "retry", OK, delay_ms) for entry in entries]
        return await self.run(
            settle(self.keys, facts, outcomes, ttl_ms=TTL_MS, dead_max_length=DEAD_MAX_LENGTH)
        )

    async def cancel(self, local: str, *, ttl_ms: int = TTL_MS) -> str:
        return await self.run(cancel(self.keys, local, ttl_ms=ttl_ms))

    async def letters(self, *, newest: str = "+", count: int = 100) -> list[RawLetter]:
        return await self.run(dead_letters(self.keys, newest=newest, count=count))

    async def redrive(self, *letter_ids: str) -> list[RedriveCode]:
        return await self.run(redrive(self.keys, letter_ids))

    async def purge(self, *letter_ids: str) -> int:
        return await self.run(purge_dead(self.keys, letter_ids))

    async def beat(
        self,
        worker: str = "w1",
        *running: str,
        idle: bool = False,
        stale_claim_ms: int = 5_000,
        thorough: bool = False,
        about: str = "",
    ) -> Look:
        return await self.run(
            heartbeat(
                self.keys,
                worker,
                running,
                heartbeat_limit_ms=LIMIT_MS,
                stale_claim_ms=stale_claim_ms,
                idle=idle,
                thorough=thorough,
                about=about,
            )
        )

    async def step_aside(self, worker: str = "w1", *, leaving: bool = False) -> int:
        return await self.run(step_aside(self.keys, worker, leaving=leaving))

    async def status(self, local: str) -> JobView | None:
        return await self.run(job_status(self.keys, local))

    async def queue(self) -> QueueStatus:
        return await self.run(queue_status(self.keys, heartbeat_limit_ms=LIMIT_MS))

    # --- moving time ---------------------------------------------------------------------------

    async def now_ms(self) -> int:
        seconds, micros = await self.raw.time()
        return int(seconds) * 1000 + int(micros) // 1000

    async def put_old(self, local: str, age_ms: int, lane: str = "main", **fields: str) -> str:
        """A job that was submitted `age_ms` ago (in the future where negative). Oldest first per lane."""
        with contextlib.suppress(aioredis.ResponseError):
            await self.raw.xgroup_create(self.keys.lane(lane), GROUP, "0", mkstream=True)
        one = job(local)
        flat: list[Any] = ["v", "1", "id", local, "client", "c1", "payload", one.payload]
        for name, value in fields.items():
            flat += (name, value)
        entry_id = await self.raw.execute_command(
            "XADD", self.keys.lane(lane), f"{await self.now_ms() - age_ms}-*", *flat
        )
        token = f"{lane}:{entry_id.decode()}"
        await self.raw.hset(
            self.keys.job(local),
            mapping={"v": "1", "state": "queued", "entry": token, "digest": one.digest, "enqueued_ms": "1"},
        )
        return token

    async def die(self, worker: str, *, known: bool = False) -> None:
        """The worker's last heartbeat becomes too old; with `known`, only where it is in the books at all."""
        await self.raw.zadd(self.keys.workers, {worker: await self.now_ms() - LIMIT_MS - 1_000}, xx=known)

    async def make_due(self, *locals_: str) -> None:
        """Time passes: these scheduled jobs are due."""
        await self.raw.zadd(self.keys.scheduled, dict.fromkeys(locals_, 1))

    async def pass_deadline(self, *locals_: str) -> None:
        """Time passes: what these jobs' records say about their deadline is over."""
        for local in locals_:
            await self.raw.hset(self.keys.job(local), "expires_ms", "1")

    # --- plain looks ---------------------------------------------------------------------------

    async def record(self, local: str) -> dict[str, bytes]:
        found = await self.raw.hgetall(self.keys.job(local))
        return {key.decode(): value for key, value in found.items()}

    async def lengths(self) -> dict[Any, Any]:
        """How many entries each lane holds; empty lanes are left out."""
        found = {lane: await self.raw.xlen(self.keys.lane(lane)) for lane in LANES}
        return {lane: length for lane, length in found.items() if length}

    async def pending(self) -> dict[str, int]:
        """How many entries each lane's group has delivered and not acknowledged; zeros are left out."""
        found = {}
        for lane in LANES:
            if await self.raw.exists(self.keys.lane(lane)):
                for group in await self.raw.xinfo_groups(self.keys.lane(lane)):
                    found[lane] = int(group["pending"])
        return {lane: count for lane, count in found.items() if count}

    async def consumers(self, lane: str = "main") -> set[str]:
        return {row["name"].decode() for row in await self.raw.xinfo_consumers(self.keys.lane(lane), GROUP)}

    async def batches(self, worker: str = "w1") -> dict[Any, Any]:
        found = await self.raw.hgetall(self.keys.batches(worker))
        return {key.decode(): value.decode() for key, value in found.items()}

    async def watcher(self) -> str | None:
        found = await self.raw.get(self.keys.watcher)
        return None if found is None else found.decode()

    async def idle(self) -> list[str]:
        """Idle workers, the longest idle first."""
        return [name.decode() for name in await self.raw.zrange(self.keys.idle, 0, -1)]

    @contextlib.asynccontextmanager
    async def listening(self, channel: str) -> AsyncIterator[Heard]:
        """Hear what is published on a channel."""
        pubsub = self.raw.pubsub()
        await pubsub.subscribe(channel)
        await pubsub.get_message(timeout=5.0)  # the confirmation
        try:
            yield Heard(pubsub, self.raw, channel)
        finally:
            await pubsub.aclose()
