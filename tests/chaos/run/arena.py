"""One chaos run from beginning to end: start everything, do harm, heal, drain, judge.

Rule: every process reaches Redis through a link of its own, so that each can be cut off alone; whoever looks
on does not. Everything that was started is gone when the run is over, however it ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import redis.asyncio as aioredis
from redis.asyncio.retry import Retry
from redis.backoff import ConstantBackoff
from redis.exceptions import ConnectionError  # noqa: A004 - redis-py's own
from tests.chaos.history import What
from tests.chaos.link import Link
from tests.chaos.orders import orders_of
from tests.chaos.run.acts import let_all_go
from tests.chaos.run.journal import FOLDER_VARIABLE, Journal, read_journals
from tests.chaos.run.nemeses import Nemeses
from tests.chaos.run.observer import Observer
from tests.chaos.run.producer_main import DURABILITY_VARIABLE
from tests.chaos.run.reckoning import Evidence, Reckoning, reckon
from tests.chaos.run.recurring import rota_jobs
from tests.chaos.run.schedule import LIMIT_S, WORKERS, Faults, schedule
from tests.chaos.run.site import Site, site_at
from tests.chaos.run.ticking import Ticking
from tests.chaos.run.unit import Unit
from tests.chaos.run.workload import QUEUES, Landed
from tests.leaks import leaked_keys

from microbatch.common.stopping import stop
from microbatch.console.admin import Admin

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from pathlib import Path

    from tests.chaos.run.schedule import Deed

__all__ = ["Arena", "Terms", "arena_at", "run_chaos"]

DRAIN_S = 180.0
LEAVE_S = 15.0
LOOK_S = 0.1
FORKING = "worker-0"
SETTINGS = {
    "concurrency": 2,
    "max_batch_size": 8,
    "max_wait_ms": 5,
    "heartbeat_limit_s": LIMIT_S,
    "drain_timeout_s": 1.5,
    "command_timeout_s": 2,
    "connect_timeout_s": 30,
    "poll_interval_s": 1,
    "max_crashes": 3,
}


@dataclass(frozen=True, slots=True)
class Terms:
    """What run this is.

    Attributes:
        seed: Makes all choices.
        seconds: How long harm is done; healing and draining come on top.
        rate_hz: Jobs a second.
        program: The server's; None finds one.
        faults: What is allowed.
        landed: What may be expected.
        settings: What the processes have in place of `SETTINGS`.
        gentle: Whether crashing jobs only answer.
    """

    seed: int
    seconds: float
    rate_hz: float = 60.0
    program: Path | None = None
    faults: Faults = field(default_factory=Faults)
    landed: Landed = field(default_factory=Landed)
    settings: Mapping[str, object] = field(default_factory=dict)
    gentle: bool = False


class Arena:
    """What is running."""

    def __init__(
        self, terms: Terms, folder: Path, site: Site, links: dict[str, Link], admin_url: str
    ) -> None:
        self.terms = terms
        self.folder = folder
        self.site = site
        self.links = links
        self.units = {
            name: Unit(name, _command(name, terms), _environment(terms, link, folder), folder)
            for name, link in links.items()
        }
        self.admin: Any = aioredis.Redis.from_url(
            admin_url, protocol=2, retry=Retry(ConstantBackoff(0.05), 40), retry_on_error=[ConnectionError]
        )
        self.nemeses = Nemeses(site, self.admin, self.units, links)
        self._journal = Journal(folder, "observer")
        self.observer = Observer(self.admin, self._journal)
        self.ticking = Ticking(self.admin, admin_url, self._journal)
        self._admin_url = admin_url
        self.problems: list[str] = []
        self._began_s = time.monotonic()
        self._log = (folder / "schedule.log").open("w")

    def say(self, text: str) -> None:
        """Write into the run's log."""
        self._log.write(f"{time.monotonic() - self._began_s:7.2f} {text}\n")
        self._log.flush()

    async def harm(self, deeds: Sequence[Deed]) -> None:
        """Carry these deeds out, for as long as the terms say."""
        under_way: set[asyncio.Task[None]] = set()
        for deed in deeds:
            await asyncio.sleep(max(0.0, self._began_s + deed.at_s - time.monotonic()))
            task = asyncio.create_task(self._carry_out(deed))
            under_way.add(task)
            task.add_done_callback(under_way.discard)
        await asyncio.sleep(max(0.0, self._began_s + self.terms.seconds - time.monotonic()))
        if under_way:
            await asyncio.wait(under_way)

    async def _carry_out(self, deed: Deed) -> None:
        self.say(f"begins: {deed}")
        self.say(f"{await self.nemeses.do(deed)}: {deed}")

    async def drain(self) -> None:
        """Heal all, let the producer finish, and wait until every queue is empty."""
        await self.nemeses.heal()
        self.say("healed")
        await self._leave("producer", "operator")
        try:
            async with asyncio.timeout(DRAIN_S), Admin(self._admin_url) as admin:
                while not await let_all_go(admin):  # whoever held something up may have been killed
                    self.say("somebody has not heard that all go on")
                await self.ticking.pause()
                while not await self.observer.is_quiet():  # noqa: ASYNC110 - Redis has no event for it
                    await asyncio.sleep(LOOK_S)
        except TimeoutError:
            self.problems.append(f"the queues are not empty {DRAIN_S:g} s after everything was healed")
        self.say("drained")

    async def _leave(self, *names: str) -> None:
        for name in names:
            self.units[name].stop()
        ends_s = time.monotonic() + LEAVE_S
        while any(self.units[name].pid is not None for name in names):
            if time.monotonic() > ends_s:
                self.problems.append(f"{' or '.join(names)} does not leave within {LEAVE_S:g} s")
                for name in names:
                    self.units[name].kill()
                return
            await asyncio.sleep(LOOK_S)

    async def judge(self) -> Reckoning:
        """Let all others leave, read everything, and judge."""
        await asyncio.sleep(LIMIT_S)  # whoever died just now is forgotten by the living
        await self._leave(*(name for name in self.units if name not in {"producer", "operator"}))
        await self.ticking.remove()
        lines = list(read_journals(self.folder))
        jobs = {line.job for line in lines if line.what in {What.SUBMITTED, What.BEGAN}}
        ends = [end for unit in self.units.values() for end in unit.ends]
        evidence = Evidence(
            lines,
            await self.observer.records(jobs.union(self.ticking.jobs, rota_jobs(orders_of(lines)))),
            await self.observer.letters(),
            ends,
            self.nemeses.failovers,
            self.ticking.seen_ms,
        )
        found = reckon(self.terms.seed, self.terms.landed, evidence)
        found.odd += self.problems
        found.odd += [
            f"left in Redis: {key}" for key in await asyncio.to_thread(leaked_keys, self.site.primary.url)
        ]
        found.odd += _breakages(self.folder)
        for end in ends:
            self.say(f"end: {end}")
        return found

    async def close(self) -> None:
        for unit in self.units.values():
            unit.kill()
        await self.admin.aclose()
        self._log.close()


def _command(name: str, terms: Terms) -> list[str]:
    if name == "producer":
        return ["-m", "tests.chaos.run.producer_main", str(terms.seed), str(terms.rate_hz)]
    if name == "waiter":
        return ["-m", "tests.chaos.run.waiter_main"]
    if name == "operator":
        return ["-m", "tests.chaos.run.operator_main", str(terms.seed)]
    # One worker has child processes: they take long to start, and a fleet that always starts proves little.
    given = [queue for queue in QUEUES if queue != "forked" or name == FORKING]
    return ["-m", "tests.chaos.worker_main", *(f"tests.chaos.run.work:{each}" for each in (*given, "ticks"))]


def _environment(terms: Terms, link: Link, folder: Path) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MICROBATCH_")}
    settings = {
        f"MICROBATCH_{name.upper()}": str(value) for name, value in (SETTINGS | dict(terms.settings)).items()
    }
    if terms.gentle:
        settings["CHAOS_GENTLE"] = "1"
    if terms.faults.failover:
        settings[DURABILITY_VARIABLE] = "replicated"
    return clean | settings | {"MICROBATCH_REDIS_URL": link.url, FOLDER_VARIABLE: str(folder)}


def _breakages(folder: Path) -> list[str]:
    """What the processes logged that only a bug of ours logs."""
    return [
        f"{log.name}: {line[:200]}"
        for log in sorted(folder.glob("*.log"))
        for line in log.read_text(errors="replace").splitlines()
        if line.startswith("Traceback") or " broke" in line
    ]


@contextlib.asynccontextmanager
async def arena_at(terms: Terms, folder: Path) -> AsyncIterator[Arena]:
    """Everything that a run needs, in that folder."""
    async with contextlib.AsyncExitStack() as stack:
        allowed = terms.faults.failover
        site = await stack.enter_async_context(site_at(folder, terms.program, replicated=allowed))
        names = (*(f"worker-{number}" for number in range(WORKERS)), "producer", "waiter", "operator")
        links = {name: await stack.enter_async_context(Link(site.socket)) for name in names}
        site.links += links.values()
        admin_url = site.primary.url
        if allowed:  # then the primary's address changes, and whoever looks on has to follow
            site.links.append(await stack.enter_async_context(Link(site.socket, parsed=False)))
            admin_url = site.links[-1].url
        arena = Arena(terms, folder, site, links, admin_url)
        tasks = [asyncio.create_task(unit.keep()) for unit in arena.units.values()]
        tasks.append(asyncio.create_task(arena.observer.listen()))
        try:
            yield arena
        finally:
            await stop(*tasks)
            await arena.close()


async def run_chaos(terms: Terms, folder: Path) -> tuple[Arena, Reckoning]:
    """Run it; what it wrote stays in `folder`."""
    async with arena_at(terms, folder) as arena:
        await arena.harm(schedule(terms.seed, terms.seconds, terms.faults))
        await arena.drain()
        return arena, await arena.judge()
