"""The judge of purges: a pure function from orders, records and beginnings to what was wrong.

Rule: a purge cancels whatever waits, or is scheduled, when it begins, and nothing else. So a job that it
cancelled had no run that was going on, and a job that waited from before it until after it was spared
wrongly. Jobs of ticks wait from their time on, not from when they were put ahead. Times are Redis's own, but
for those of orders and beginnings, which lie around them.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from tests.chaos.history import PENDING_S, ROUNDING_S, What

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from tests.chaos.history import Event, Window
    from tests.chaos.orders import Order
    from tests.chaos.run.observer import Record

__all__ = ["PURGE", "purge_faults", "purged"]

PURGE = "queue purge"
CANCELLED = "cancelled"
_ENDS_A_RUN = {"retried", "handed back", "taken over"}
_MOST_EVENTS = 24
"""Of a longer history the beginning is gone."""


def purged(
    orders: Iterable[Order],
    records: Mapping[str, Record],
    events: Iterable[Event],
    failovers: Sequence[Window] = (),
) -> set[str]:
    """The jobs that a purge may have cancelled."""
    purges = _by_queue(orders)
    found = {
        job
        for job, record in records.items()
        if record.outcome.state == CANCELLED
        and any(_holds(each, record.ended_s) for each in purges[_queue(job)])
    }
    # A lost primary may have purged what its heir ran to another end.
    for event in events:
        if event.outcome is not None and event.outcome.state == CANCELLED:
            windows = [window for window in failovers if window.holds(event)]
            if any(each.asked_s <= event.at_s for each in purges[_queue(event.job)] if windows):
                found.add(event.job)
    return found


def purge_faults(
    orders: Iterable[Order],
    records: Mapping[str, Record],
    events: Iterable[Event],
    cancellable: Collection[str] = (),
    failovers: Sequence[Window] = (),
    ticks_s: Mapping[str, float] | None = None,
) -> list[str]:
    """What was purged although it ran or did not wait yet, and what was spared although it waited.

    Args:
        orders: All that operators asked for.
        records: Of the jobs that are final.
        events: All that was seen.
        cancellable: Jobs that others may have cancelled: these may, while they run.
        failovers: A claim of one of these windows may have been undone, so that its job waited again.
        ticks_s: The time of each job that is one of a tick.
    """
    ticks_s = ticks_s or {}
    orders, events = list(orders), list(events)
    victims = purged(orders, records, (), failovers) - set(cancellable)
    early = sorted(job for job in victims if records[job].ended_s < ticks_s.get(job, 0.0) - ROUNDING_S)
    return [
        *(f"{job} was purged before its tick" for job in early),
        *_while_they_ran(victims, records, events, failovers),
        *_spared(orders, records, failovers, ticks_s),
    ]


def _while_they_ran(
    victims: Collection[str],
    records: Mapping[str, Record],
    events: Iterable[Event],
    failovers: Sequence[Window],
) -> Iterator[str]:
    began: dict[str, set[int]] = defaultdict(set)
    for event in events:
        undone = any(each.began_s <= event.at_s <= each.ended_s + PENDING_S for each in failovers)
        if event.what is What.BEGAN and event.job in victims and not undone:
            began[event.job].add(int(event.detail))
    for job, attempts in sorted(began.items()):
        record = records[job]
        if record.past or len(record.moves) >= _MOST_EVENTS:
            continue
        over = {move.attempt for move in record.moves if move.event in _ENDS_A_RUN}
        if attempts - over:
            yield f"{job} was purged while its attempt {min(attempts - over)} ran"


def _spared(
    orders: Sequence[Order],
    records: Mapping[str, Record],
    failovers: Sequence[Window],
    ticks_s: Mapping[str, float],
) -> Iterator[str]:
    sure = [each for each in orders if each.is_sure and not any(map(each.is_near, failovers))]
    purges = _by_queue(sure)
    for job, record in records.items():
        if record.past or any(move.event != "promoted" for move in record.moves):
            continue  # it may have been between two runs
        for each in purges[_queue(job)]:
            since_s = max(record.accepted_s, ticks_s.get(job, 0.0))
            waited = since_s < each.asked_s - ROUNDING_S
            if waited and record.claimed_s > each.until_s + ROUNDING_S:
                yield f"{job} waited while {_queue(job)} was purged, and ran all the same"
                break


def _by_queue(orders: Iterable[Order]) -> defaultdict[str, list[Order]]:
    found = defaultdict(list)
    for order in orders:
        if order.name == PURGE:
            found[order.target].append(order)
    return found


def _holds(order: Order, at_s: float) -> bool:
    return order.asked_s - ROUNDING_S <= at_s <= order.until_s + ROUNDING_S


def _queue(job: str) -> str:
    return job.partition("/")[0]
