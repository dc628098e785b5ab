"""The jobs that nobody submits one by one: those of ticks, and those that an operator has run at once. Pure.

Rule: here they become events, as if somebody had submitted each of them at its time: accepted where it has to
have its job, and without an answer where it only may.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.chaos.history import Event, What
from tests.chaos.rota import CHANGES, rota_of
from tests.chaos.run.clerk import RUN_NOW
from tests.chaos.run.workload import (
    ROTA,
    ROTA_EVERY_MS,
    ROTA_NAME,
    ROTA_QUEUE,
    TICK_EVERY_MS,
    TICK_NAME,
    TICK_QUEUE,
    wanted_of_ticks,
)

from microbatch.common.identifiers import job_id
from microbatch.common.schedules.schedule import tick_job

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from tests.chaos.history import Wanted, Window
    from tests.chaos.orders import Order

__all__ = ["AHEAD_MS", "Recurring", "rota_job", "rota_jobs", "strangers", "ticks_between"]

AHEAD_MS = 15_000
"""No job is put further ahead of its tick."""


@dataclass(slots=True)
class Recurring:
    """The jobs that nobody submits one by one: what is to be known of them, and what may become of them."""

    events: list[Event] = field(default_factory=list)
    expected: dict[str, Wanted] = field(default_factory=dict)
    ticks_s: dict[str, float] = field(default_factory=dict)
    nonsense: list[str] = field(default_factory=list)
    needed: int = 0

    def tick(self, ticks_ms: tuple[int, int]) -> None:
        """Each tick of the workers' own schedule; one until its pause got through may have its job, too."""
        for job, at_ms in ticks_between(*ticks_ms).items():
            self._add_tick(job, at_ms, wanted_of_ticks(), accepted=True)
        for job, at_ms in ticks_between(ticks_ms[1], ticks_ms[1] + AHEAD_MS).items():
            self._add_tick(job, at_ms, wanted_of_ticks(), accepted=False)

    def tick_as_ordered(self, orders: Sequence[Order], failovers: Sequence[Window]) -> None:
        """Each tick of the operators' schedule that has, or may have, its job."""
        rota = rota_of(orders, ROTA_EVERY_MS, failovers)
        self.nonsense += rota.nonsense
        for at_ms in rota.needed_ms:
            self._add_tick(rota_job(at_ms), at_ms, wanted_of_ticks(ROTA), accepted=True)
        for at_ms in rota.allowed_ms:
            self._add_tick(rota_job(at_ms), at_ms, wanted_of_ticks(ROTA), accepted=False)

    def run_now(self, orders: Sequence[Order], strangers: Sequence[str]) -> None:
        """What operators had run at once; each order without an answer may be one of the strangers."""
        asked = [order for order in orders if order.name == RUN_NOW]
        unsure = [order for order in asked if order.answer is None]
        for order in asked:
            if order.answer is not None and "/" in order.answer:
                self._add(order.answer, order.asked_s, wanted_of_ticks(ROTA), accepted=True)
        unknown = [job for job in strangers if job not in self.expected]
        for order, job in zip(unsure, unknown, strict=False):
            self._add(job, order.asked_s, wanted_of_ticks(ROTA), accepted=False)

    def _add_tick(self, job: str, at_ms: int, one: Wanted, *, accepted: bool) -> None:
        self.ticks_s[job] = at_ms / 1000
        self._add(job, at_ms / 1000, one, accepted=accepted)

    def _add(self, job: str, at_s: float, one: Wanted, *, accepted: bool) -> None:
        self.expected[job] = one
        self.needed += accepted
        kinds = (What.SUBMITTED, What.ACCEPTED) if accepted else (What.SUBMITTED,)
        self.events += [Event(what, job, at_s=at_s) for what in kinds]


def rota_job(at_ms: int) -> str:
    """The job of a tick of the operators' schedule."""
    return job_id(ROTA_QUEUE, tick_job(ROTA_NAME, at_ms))


def rota_jobs(orders: Sequence[Order]) -> set[str]:
    """All jobs that the operators' schedule may have had, from the first order to the last one."""
    changes = [order for order in orders if order.name in CHANGES]
    if not changes:
        return set()
    at_once = {order.answer for order in orders if order.name == RUN_NOW and order.answer is not None}
    first_ms = round(changes[0].asked_s * 1000) // ROTA_EVERY_MS * ROTA_EVERY_MS
    last_ms = round(max(order.until_s for order in changes) * 1000) + AHEAD_MS
    ticks = {rota_job(at_ms) for at_ms in range(first_ms, last_ms, ROTA_EVERY_MS)}
    return ticks | {job for job in at_once if "/" in job}


def strangers(events: Iterable[Event], known: Collection[str]) -> list[str]:
    """Jobs of the operators' schedule's queue that nobody submitted under a name, by when they began."""
    return list(
        dict.fromkeys(
            event.job
            for event in events
            if event.what is What.BEGAN
            and event.job not in known
            and event.job.startswith(f"{ROTA_QUEUE}/")
            and f"/{ROTA_NAME}:" not in event.job
        )
    )


def ticks_between(since_ms: int, until_ms: int) -> dict[str, int]:
    """The jobs of all ticks after a moment and up to another one, and when each is due."""
    first_ms = (since_ms // TICK_EVERY_MS + 1) * TICK_EVERY_MS
    return {
        job_id(TICK_QUEUE, tick_job(TICK_NAME, at_ms)): at_ms
        for at_ms in range(first_ms, until_ms + 1, TICK_EVERY_MS)
    }
